/** The process of a worker on this machine: one that is started here, or one that was started before this process was. */
import { execa } from 'execa';
import { markOf, processEnd, type ProcessMark } from '../coordinator/process-mark.js';

/** How a process ended. */
export interface Ending {
  readonly how: string;
  readonly bySignal: boolean;
}

export interface WorkerProcess {
  /** Null: its process is gone. */
  readonly mark: ProcessMark | null;
  readonly ended: Promise<Ending>;
}

export interface WorkerCommand {
  /** The command to start `lockstep` with: [node, script]. */
  readonly command: readonly [string, string];
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Gets each line of its stderr. */
  readonly onLine: (line: string) => void;
}

/** The last lines of a worker's own words are kept, to tell why it ended. */
const keptLines = 20;

export function startWorkerProcess({ command, args, env, onLine }: WorkerCommand): WorkerProcess {
  const child = spawn(command, args, env);
  const lines: string[] = [];
  const reading = readLines(child, (line) => {
    lines.push(line);
    if (lines.length > keptLines) lines.shift();
    onLine(line);
  });
  const mark = child.pid === undefined ? null : markOf(child.pid);
  return { mark, ended: Promise.all([child, reading]).then(([result]) => describeEnd(result, lines)) };
}

/** A process that is no child of this one: that it has ended shows, and not how. */
export function watchWorkerProcess(mark: ProcessMark): WorkerProcess {
  const ended = processEnd(mark).then((): Ending => ({ how: 'its process is gone', bySignal: true }));
  return { mark, ended };
}

/**
 * TensorFlow's tensors come from malloc, which asks for pages of 2 MiB where glibc is told so before a process begins (The GNU C
 * Library, "Memory Allocation Tunables"). What somebody has set already stays.
 */
function withLargePages({ GLIBC_TUNABLES: set = '' }: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const tunables = set.split(':').filter((tunable) => tunable !== '');
  if (tunables.some((tunable) => tunable.startsWith('glibc.malloc.hugetlb='))) return {};
  return { GLIBC_TUNABLES: [...tunables, 'glibc.malloc.hugetlb=1'].join(':') };
}

/** A process group of its own: Ctrl-C reaches this process alone, which stops the workers in good order. */
function spawn(
  [node, script]: WorkerCommand['command'],
  args: readonly string[],
  env: Readonly<Record<string, string>>,
) {
  return execa(node, [script, ...args], {
    reject: false,
    buffer: false,
    detached: true,
    stdio: ['ignore', 'inherit', 'pipe'],
    env: { ...withLargePages(), ...env },
  });
}

type Child = ReturnType<typeof spawn>;

async function readLines(child: Child, onLine: (line: string) => void): Promise<void> {
  for await (const line of child.iterable({ from: 'stderr' })) onLine(line);
}

function describeEnd({ signal, exitCode }: Awaited<Child>, lines: readonly string[]): Ending {
  const how = signal === undefined ? `it exited with code ${exitCode ?? 'unknown'}` : `it was killed by ${signal}`;
  const last = lines.findLast((line) => line.startsWith('error: '));
  const saying = last === undefined ? '' : `, saying "${last.slice('error: '.length)}"`;
  return { how: `${how}${saying}`, bySignal: signal !== undefined };
}
