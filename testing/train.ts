/** A run in real processes, for tests: started as by the command line, given its faults, and waited for. */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatFault, type Fault } from '../src/chaos/faults.js';
import { isErrorCode, LockstepError } from '../src/errors.js';
import type { RunSummary } from '../src/run-summary.js';

export interface TrainOptions {
  /** @default the GPUs of this machine, or 1 */
  readonly workers?: number;
  /** What the run is given to recover from. @default nothing */
  readonly faults?: readonly Fault[];
  /** Plain fields of the job that are to be others: `{ slots: 4, threads: 1, 'optimizer.learningRate': 0.01 }`. */
  readonly set?: Readonly<Record<string, string | number | boolean>>;
  /** The run ends after so many steps. @default as the job says */
  readonly steps?: number;
  /** Kept, with all that the run leaves. @default a temporary one */
  readonly runDir?: string;
  /** More options of `lockstep train`: `['--heartbeat-timeout-ms', '500']`. */
  readonly args?: readonly string[];
  /** The environment of the processes. @default this process's */
  readonly env?: NodeJS.ProcessEnv;
  /** Ends the run and all its processes. */
  readonly signal?: AbortSignal;
  /** @default 2 minutes */
  readonly timeoutMs?: number;
}

const defaultTimeoutMs = 120_000;
const command = fileURLToPath(new URL('../bin/lockstep.js', import.meta.url));

/**
 * Trains the job on this machine, in processes of its own, and resolves with the run's summary when it has ended well.
 *
 * @param job path of the job file
 * @throws LockstepError with the run's error; ERR_TIMEOUT where it has not ended in time; ERR_INTERRUPTED by `signal`
 */
export async function train(job: string, options: TrainOptions = {}): Promise<RunSummary> {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-run-'));
  try {
    const summaryPath = join(folder, 'summary.json');
    const runDir = options.runDir ?? join(folder, 'run');
    const printed = await run(argsOf(job, options, { summaryPath, runDir }), options);
    return await readSummary(summaryPath, printed);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function argsOf(
  job: string,
  { workers, faults = [], set = {}, steps, args = [] }: TrainOptions,
  { summaryPath, runDir }: { readonly summaryPath: string; readonly runDir: string },
): string[] {
  return [
    ...['train', job, '--summary', summaryPath, '--run-dir', runDir],
    ...(workers === undefined ? [] : ['--workers', String(workers)]),
    ...(steps === undefined ? [] : ['--steps', String(steps)]),
    ...(faults.length === 0 ? [] : ['--chaos', faults.map(formatFault).join(',')]),
    ...Object.entries(set).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
    ...args,
  ];
}

/** Resolves with what the command said, when it has ended. */
async function run(args: readonly string[], options: TrainOptions): Promise<string> {
  const { env, signal, timeoutMs = defaultTimeoutMs } = options;
  const child = spawn(process.execPath, [command, ...args], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let printed = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (printed += text));
  const ended = new Promise<void>((resolve, reject) => child.once('close', resolve).once('error', reject));
  const ending = new AbortController();
  // The second one ends the command at once, and its workers with it.
  const end = (error: LockstepError): void => {
    ending.abort(error);
    child.kill('SIGINT');
    child.kill('SIGTERM');
  };
  const onAbort = (): void => end(new LockstepError('ERR_INTERRUPTED', 'The test has ended the run.'));
  const timer = setTimeout(() => {
    end(new LockstepError('ERR_TIMEOUT', `The run has not ended within ${timeoutMs} ms. It said:\n${printed}`));
  }, timeoutMs);
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted === true) onAbort();
  try {
    await ended;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
  ending.signal.throwIfAborted();
  return printed;
}

async function readSummary(path: string, printed: string): Promise<RunSummary> {
  const text = await readFile(path, 'utf8').catch(() => null);
  if (text === null) throw new LockstepError('ERR_WORKER_FAILED', `The run has left no summary. It said:\n${printed}`);
  const summary = JSON.parse(text) as RunSummary; // written by the command of this very package
  if (summary.error === null) return summary;
  const { code, message } = summary.error;
  throw new LockstepError(isErrorCode(code) ? code : 'ERR_INTERNAL', message, { details: { summary } });
}
