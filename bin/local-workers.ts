/** Workers as child processes of this one, one for each GPU where there are GPUs. */
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { LockstepError } from '../src/errors.js';
import type { Log } from '../src/log.js';
import type { Limits } from '../src/protocol/limits.js';
import { formatEndpoint } from '../transport/endpoint.js';
import { limitFlags } from './options.js';
import type { Launcher } from './run.js';

export interface LocalWorkersOptions {
  readonly numWorkers: number;
  /** Ids of GPUs, shared out in turn; none: the CPU. */
  readonly gpus: readonly string[];
  /** The command to start `lockstep` with: [node, script]. */
  readonly command: readonly [string, string];
  readonly json: boolean;
  /** Handed on to the workers. */
  readonly limits: Limits;
}

/** A process group of its own: Ctrl-C reaches this process alone, which stops the workers in good order. */
function spawn(command: readonly [string, string], args: readonly string[], env: Readonly<Record<string, string>>) {
  const [node, script] = command;
  return execa(node, [script, ...args], {
    reject: false,
    buffer: false,
    detached: true,
    stdio: ['ignore', 'inherit', 'pipe'],
    env,
  });
}

type Child = ReturnType<typeof spawn>;

/** How long a lost worker's process may take to end, for its end to be told. */
const explanationTimeoutMs = 2_000;

/** The last lines of a worker's own words are kept, to tell why it ended. */
const keptLines = 20;

export class LocalWorkers implements Launcher {
  readonly #options: LocalWorkersOptions;
  readonly #children = new Map<number, { readonly child: Child; readonly ended: Promise<string> }>();
  readonly #warnings = new Set<string>();
  readonly #timers: NodeJS.Timeout[] = [];
  #closing = false;

  constructor(options: LocalWorkersOptions) {
    this.#options = options;
  }

  start({ coordinator, tokenFile, log }: Parameters<Launcher['start']>[0]): void {
    const url = formatEndpoint(coordinator.endpoint);
    for (let index = 0; index < this.#options.numWorkers; index++) {
      const { child, ended } = this.#spawn(index, url, tokenFile, log);
      if (child.pid !== undefined) this.#children.set(child.pid, { child, ended });
      const failUnlessJoined = (how: string): void => {
        if (this.#closing) return;
        const message = `Worker ${workerName(index)} (pid ${child.pid ?? 'none'}) has not joined: ${how}.`;
        coordinator.failUnlessJoined(workerName(index), new LockstepError('ERR_WORKER_LOST', message));
      };
      void ended.then(failUnlessJoined);
      const { connectTimeoutMs } = this.#options.limits;
      const timer = setTimeout(() => {
        failUnlessJoined(`it has said nothing for ${connectTimeoutMs} ms`);
      }, connectTimeoutMs);
      this.#timers.push(timer);
    }
  }

  /** Null also where the process lives on: its connection is gone all the same. */
  async explainLoss(pid: number): Promise<string | null> {
    const child = this.#children.get(pid);
    if (!child) return null;
    return Promise.race([child.ended, delay(explanationTimeoutMs, null, { ref: false })]);
  }

  kill(): void {
    for (const { child } of this.#children.values()) child.kill('SIGKILL');
  }

  async close(): Promise<void> {
    this.#closing = true;
    for (const timer of this.#timers) clearTimeout(timer);
    const timer = setTimeout(() => {
      this.kill();
    }, 10_000);
    await Promise.all([...this.#children.values()].map(({ ended }) => ended));
    clearTimeout(timer);
  }

  /** A worker's warning is the person's to read, once if several say the same; its error comes with its end. */
  #say(worker: string, line: string, log: Log): void {
    const warning = /^warn: (.*)$/.exec(line)?.[1];
    if (warning === undefined) log.debug(`${worker}: ${line}`);
    else if (!this.#warnings.has(warning)) log.warn(warning, { workerId: worker });
    if (warning !== undefined) this.#warnings.add(warning);
  }

  #spawn(index: number, url: string, tokenFile: string, log: Log): { child: Child; ended: Promise<string> } {
    const { gpus, command, json, limits } = this.#options;
    const gpu = gpus[index % Math.max(1, gpus.length)];
    const flags = [
      ...(gpu === undefined ? [] : ['--device', 'gpu']),
      ...(json ? ['--json'] : []),
      ...limitFlags(limits),
    ];
    const args = ['worker', '--join', url, '--token-file', tokenFile, '--id', workerName(index), ...flags];
    const child = spawn(command, args, gpu === undefined ? {} : { CUDA_VISIBLE_DEVICES: gpu });
    const lines: string[] = [];
    const reading = readLines(child, (line) => {
      lines.push(line);
      if (lines.length > keptLines) lines.shift();
      this.#say(workerName(index), line, log);
    });
    return { child, ended: Promise.all([child, reading]).then(([result]) => describeEnd(result, lines)) };
  }
}

function workerName(index: number): string {
  return `w${index}`;
}

async function readLines(child: Child, onLine: (line: string) => void): Promise<void> {
  for await (const line of child.iterable({ from: 'stderr' })) onLine(line);
}

function describeEnd(result: Awaited<Child>, lines: readonly string[]): string {
  const { signal, exitCode } = result;
  const how = signal === undefined ? `it exited with code ${exitCode ?? 'unknown'}` : `it was killed by ${signal}`;
  const last = lines.findLast((line) => line.startsWith('error: '));
  return last === undefined ? how : `${how}, saying "${last.slice('error: '.length)}"`;
}

/** The GPUs of this machine, as CUDA_VISIBLE_DEVICES names them; what it is set to already limits them. */
export async function listGpus(): Promise<string[]> {
  const visible = process.env['CUDA_VISIBLE_DEVICES'];
  if (visible !== undefined) return visible.split(',').filter((id) => id !== '' && id !== '-1');
  const listed = await execa('nvidia-smi', ['--query-gpu=index', '--format=csv,noheader'], { reject: false });
  return listed.failed ? [] : listed.stdout.split('\n').flatMap((line) => line.trim() || []);
}
