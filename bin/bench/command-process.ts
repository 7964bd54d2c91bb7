/** The `lockstep` command in a process of its own, watched by what it says on stderr. */
import { execa } from 'execa';
import { LockstepError } from '../../src/errors.js';

/** Kept, to tell why it ended. */
const keptLines = 20;

/** As each worker of a measurement has one core at most. */
const oneThread = { TF_NUM_INTRAOP_THREADS: '1', TF_NUM_INTEROP_THREADS: '1', OMP_NUM_THREADS: '1' } as const;

export interface CommandProcessOptions {
  /** The command's file. @default the one that runs */
  readonly entry?: string;
  /** @default none but what gives each process one thread */
  readonly env?: Readonly<Record<string, string>>;
}

function spawn(args: readonly string[], { entry = process.argv[1] ?? '', env }: CommandProcessOptions) {
  return execa(process.execPath, [entry, ...args], {
    reject: false,
    buffer: false,
    stdio: ['ignore', 'ignore', 'pipe'],
    // With this process they all end: a worker that was asked to would wait for its coordinator.
    killSignal: 'SIGKILL',
    env: { ...oneThread, ...env },
  });
}

export class CommandProcess {
  readonly pid: number;
  /** Resolves when it has ended, however it did. */
  readonly ended: Promise<unknown>;
  readonly #args: readonly string[];
  readonly #child: ReturnType<typeof spawn>;
  readonly #watchers = new Set<(line: string | null) => void>();
  #last: string[] = [];

  private constructor(args: readonly string[], options: CommandProcessOptions) {
    this.#args = args;
    this.#child = spawn(args, options);
    this.pid = this.#child.pid ?? NaN;
    const reading = this.#read();
    this.ended = Promise.all([this.#child, reading]);
  }

  static start(args: readonly string[], options: CommandProcessOptions = {}): CommandProcess {
    return new CommandProcess(args, options);
  }

  /** What it said last. */
  get lastLines(): readonly string[] {
    return this.#last;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Resolves with the next line that matches. To be called before what makes the process say it. */
  async line(pattern: RegExp, timeoutMs: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        clearTimeout(timer);
        this.#watchers.delete(watch);
        settle();
      };
      const fail = (why: string): void => {
        const message = `lockstep ${this.#args.join(' ')} ${why} "${pattern.source}". Its last lines: ${this.#last.join('\n')}`;
        end(() => reject(new LockstepError('ERR_TIMEOUT', message)));
      };
      const watch = (line: string | null): void => {
        if (line === null) fail('ended without a line');
        else if (pattern.test(line)) end(() => resolve(line));
      };
      const timer = setTimeout(() => fail(`said within ${timeoutMs} ms no line`), timeoutMs);
      this.#watchers.add(watch);
    });
  }

  async #read(): Promise<void> {
    for await (const line of this.#child.iterable({ from: 'stderr' })) this.#tell(line);
    this.#tell(null);
  }

  #tell(line: string | null): void {
    if (line !== null) this.#last = [...this.#last, line].slice(-keptLines);
    for (const watch of this.#watchers) watch(line);
  }
}
