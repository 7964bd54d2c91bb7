/**
 * The `lockstep` command as a process of its own, built from these sources: what it prints, line by line, and how it ends.
 * Every wait ends when the process does, so that a test that waits for what never comes says what came instead.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const entry = fileURLToPath(new URL('../../dist/bin/lockstep.js', import.meta.url));

/** The longest that any run here may take before its test fails with what it printed. */
const lifetimeMs = 100_000;

export interface Ended {
  /** Null where a signal ended it. */
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: readonly string[];
  readonly stderr: readonly string[];
}

export interface StartOptions {
  /** @default this process's */
  readonly cwd?: string;
  /** Added to this process's. */
  readonly env?: Readonly<Record<string, string>>;
  /** The compiled command. @default the one of this checkout */
  readonly entry?: string;
  /** What the process takes for its host's name (a UTS namespace), where `canNameHosts`. @default this host's */
  readonly hostName?: string;
  /** The command that starts it, such as one that enters a network namespace. @default none */
  readonly through?: readonly string[];
  /** A folder that is there, and empty for the process (a mount namespace), where `canHideFolders`. @default it sees all */
  readonly hides?: string;
}

const underHostName = ['--user', '--map-root-user', '--uts', 'sh', '-c', 'hostname "$0" && exec "$@"'];
const withoutFolder = ['--user', '--map-root-user', '--mount', 'sh', '-c', 'mount -t tmpfs none "$0" && exec "$@"'];

/** Whether this user may start processes under another host name. */
export function canNameHosts(): boolean {
  return spawnSync('unshare', [...underHostName, 'another-host', 'true']).status === 0;
}

/** Whether this user may start processes that see another folder in the place of one. */
export function canHideFolders(): boolean {
  return spawnSync('unshare', [...withoutFolder, tmpdir(), 'true']).status === 0;
}

export class LockstepProcess {
  readonly pid: number;
  /** Resolves when the process and all its output have ended. */
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  readonly #args: readonly string[];
  readonly #stdout: string[] = [];
  readonly #stderr: string[] = [];
  readonly #watchers = new Set<() => void>();

  private constructor(args: readonly string[], options: StartOptions) {
    this.#args = args;
    const { CUDA_VISIBLE_DEVICES = '' } = process.env; // the CPU, unless somebody says otherwise
    const naming = options.hostName === undefined ? [] : ['unshare', ...underHostName, options.hostName];
    const hiding = options.hides === undefined ? [] : ['unshare', ...withoutFolder, options.hides];
    const [command = '', ...rest] = [
      ...(options.through ?? []),
      ...hiding,
      ...naming,
      process.execPath,
      options.entry ?? entry,
      ...args,
    ];
    this.#child = spawn(command, rest, {
      cwd: options.cwd,
      env: { ...process.env, CUDA_VISIBLE_DEVICES, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.pid = this.#child.pid ?? NaN;
    this.#keepLines(this.#child.stdout, this.#stdout);
    this.#keepLines(this.#child.stderr, this.#stderr);
    this.ended = this.#end();
  }

  static start(args: readonly string[], options: StartOptions = {}): LockstepProcess {
    return new LockstepProcess(args, options);
  }

  get stdout(): readonly string[] {
    return this.#stdout;
  }

  get stderr(): readonly string[] {
    return this.#stderr;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** The nth line of either stream that matches, now or later. */
  async line(pattern: RegExp, nth = 1): Promise<RegExpExecArray> {
    for (;;) {
      const matches = [...this.#stdout, ...this.#stderr]
        .map((line) => pattern.exec(line))
        .filter((match) => match !== null);
      const match = matches[nth - 1];
      if (match) return match;
      if (this.#hasEnded()) throw new Error(`The line ${String(pattern)} never came from ${this.#describe()}`);
      await new Promise<void>((resolve) => this.#watchers.add(resolve));
    }
  }

  #keepLines(stream: NodeJS.ReadableStream | null, lines: string[]): void {
    if (!stream) return;
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line);
      this.#wake();
    });
  }

  async #end(): Promise<Ended> {
    const timer = setTimeout(() => {
      this.#stderr.push(`(killed by the test: still there after ${lifetimeMs} ms)`);
      this.signal('SIGKILL');
    }, lifetimeMs);
    const [exitCode, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
      this.#child.once('close', (...how) => {
        resolve(how);
      });
    });
    clearTimeout(timer);
    this.#wake();
    return { exitCode, signal, stdout: this.#stdout, stderr: this.#stderr };
  }

  #hasEnded(): boolean {
    const { exitCode, signalCode, stdout, stderr } = this.#child;
    return (exitCode ?? signalCode) !== null && stdout?.closed !== false && stderr?.closed !== false;
  }

  #wake(): void {
    for (const wake of this.#watchers) wake();
    this.#watchers.clear();
  }

  #describe(): string {
    return `lockstep ${this.#args.join(' ')}\n${[...this.#stdout, ...this.#stderr].join('\n')}`;
  }
}

/** Runs the command to its end. */
export async function lockstep(args: readonly string[], options: StartOptions = {}): Promise<Ended> {
  return LockstepProcess.start(args, options).ended;
}

/** As `lockstep`, for a run that has to end well. */
export async function lockstepDone(args: readonly string[], options: StartOptions = {}): Promise<Ended> {
  const ended = await lockstep(args, options);
  if (ended.exitCode === 0) return ended;
  const how = ended.signal ?? `exit code ${String(ended.exitCode)}`;
  throw new Error(`lockstep ${args.join(' ')} ended with ${how}:\n${[...ended.stdout, ...ended.stderr].join('\n')}`);
}

/** The lines that begin with "error: ", without that. */
export function errorLines({ stderr }: Pick<Ended, 'stderr'>): string[] {
  return stderr.flatMap((line) => (line.startsWith('error: ') ? [line.slice('error: '.length)] : []));
}
