/**
 * What a test file opened and has not closed: child processes and their descendants, worker threads, sockets and servers.
 * Node's diagnostics channels announce each as it is made, so a leak can be named with the line that made it; what is
 * made without an announcement still counts in `process.getActiveResourcesInfo()`, above the baseline.
 */
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { subscribe } from 'node:diagnostics_channel';
import type { EventEmitter } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { basename } from 'node:path';
import type { Worker } from 'node:worker_threads';

/** Children inherit this variable, and theirs from them: it finds a process whose parent is gone. */
const markerName = 'LOCKSTEP_TEST_FILE_ID';

/** What Node calls the handles that nobody may leave open; names of `process.getActiveResourcesInfo()`. */
const handleTypes = /^(TCP|UDP|Pipe|Process|FSEvent)/;

interface Opened {
  readonly openedAt: string;
  isOpen(): boolean;
  describe(): string;
}

interface Descendant {
  readonly pid: number;
  readonly command: string;
}

export class OpenHandles {
  readonly #opened = new Set<Opened>();
  readonly #marker = randomUUID();
  readonly #baseline: ReadonlyMap<string, number>;

  private constructor() {
    process.env[markerName] = this.#marker;
    this.#baseline = countHandles();
  }

  /** Takes the baseline, and notes from now on what is opened in this process. */
  static track(): OpenHandles {
    const handles = new OpenHandles();
    subscribe('child_process', (message) => handles.#addProcess((message as { process: ChildProcess }).process));
    subscribe('worker_threads', (message) => handles.#addWorker((message as { worker: Worker }).worker));
    subscribe('net.client.socket', (message) => handles.#addSocket((message as { socket: Socket }).socket));
    subscribe('net.server.socket', (message) => handles.#addSocket((message as { socket: Socket }).socket));
    subscribe('tracing:net.server.listen:asyncStart', (message) =>
      handles.#addServer((message as { server: Server }).server),
    );
    return handles;
  }

  /** One sentence for each thing that is open now. */
  describe(): string[] {
    const named = [...this.#opened].filter((opened) => opened.isOpen());
    const sentences = named.map((opened) => `${opened.describe()}, opened at ${opened.openedAt}`);
    const orphans = this.#descendants().map(({ pid, command }) => `process ${pid} (${command})`);
    const unnamed = named.length > 0 ? [] : handlesAbove(this.#baseline);
    return [
      ...sentences,
      ...orphans.filter((orphan) => !sentences.some((text) => text.startsWith(orphan))),
      ...unnamed,
    ];
  }

  /** Ends the processes that this file left behind, so that they do not disturb the next. */
  killProcesses(): void {
    for (const { pid } of this.#descendants()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended by itself in the meantime.
      }
    }
  }

  #addProcess(child: ChildProcess): void {
    // Without a pid it did not start.
    const isOpen = () => child.pid !== undefined && child.exitCode === null && child.signalCode === null;
    const describe = () => `process ${child.pid ?? 0} (${child.spawnargs.join(' ')})`;
    this.#add(child, 'exit', { isOpen: () => isOpen() && !isService(child), describe });
  }

  #addWorker(worker: Worker): void {
    // Node's own thread, for module hooks.
    if (worker.constructor.name === 'InternalWorker') return;
    const describe = () => `worker thread ${worker.threadId}`;
    this.#add(worker, 'exit', { isOpen: () => worker.threadId !== -1, describe });
  }

  #addSocket(socket: Socket): void {
    const here = () => endOf(socket.localAddress, socket.localPort);
    const there = () => endOf(socket.remoteAddress, socket.remotePort);
    const describe = () => `socket from ${here()} to ${there()}`;
    this.#add(socket, 'close', { isOpen: () => !socket.destroyed, describe });
  }

  #addServer(server: Server): void {
    const describe = () => `server on ${JSON.stringify(server.address())}`;
    this.#add(server, 'close', { isOpen: () => server.listening, describe });
  }

  #add(emitter: EventEmitter, lastEvent: string, handle: Omit<Opened, 'openedAt'>): void {
    const opened = { ...handle, openedAt: callerOutsideNode() };
    this.#opened.add(opened);
    emitter.once(lastEvent, () => this.#opened.delete(opened));
  }

  /** Where the system lists processes as files (Linux): the living ones that carry this file's marker. */
  #descendants(): Descendant[] {
    if (process.platform !== 'linux') return [];
    const pids = readdirSync('/proc')
      .map(Number)
      .filter((pid) => Number.isInteger(pid) && pid !== process.pid);
    return pids
      .filter((pid) => readProcess(pid, 'environ').includes(`${markerName}=${this.#marker}`))
      .map((pid) => ({ pid, command: readProcess(pid, 'cmdline').join(' ') }))
      .filter(({ command }) => !command.includes('esbuild --service'));
  }
}

/** esbuild keeps one process for its calls; it ends with the process that uses it. */
function isService(child: ChildProcess): boolean {
  return basename(child.spawnfile) === 'esbuild';
}

function endOf(address: string | undefined, port: number | undefined): string {
  return address === undefined ? 'a Unix socket' : `${address}:${port ?? 0}`;
}

function readProcess(pid: number, file: 'environ' | 'cmdline'): string[] {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8').split('\0').filter(Boolean);
  } catch {
    // It ended, or it is another user's.
    return [];
  }
}

function countHandles(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const type of process.getActiveResourcesInfo()) {
    if (handleTypes.test(type)) counts.set(type, (counts.get(type) ?? 0) + 1);
  }
  return counts;
}

function handlesAbove(baseline: ReadonlyMap<string, number>): string[] {
  return [...countHandles()]
    .map(([type, count]) => ({ type, extra: count - (baseline.get(type) ?? 0) }))
    .filter(({ extra }) => extra > 0)
    .map(({ type, extra }) => `${extra} ${type}, opened at an unknown place`);
}

function callerOutsideNode(): string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 50;
  const frames = (new Error().stack ?? '').split('\n').slice(1);
  Error.stackTraceLimit = limit;
  const caller = frames.find((frame) => !/node:|node_modules|open-handles/.test(frame));
  return caller?.trim().replace(/^at /, '') ?? 'an unknown place';
}
