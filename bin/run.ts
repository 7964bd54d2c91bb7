/**
 * What `train` and `coordinator` share: opens the run directory, settles what the run is, runs the coordinator, shows its
 * progress, and writes the summary however it ends.
 */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { Coordinator } from '../coordinator/coordinator.js';
import { checkpointFolder, readToken, RunFolder } from '../coordinator/run-folder.js';
import type { RunResult } from '../coordinator/coordinator-options.js';
import type { Fault } from '../src/chaos/faults.js';
import { LockstepError, toLockstepError } from '../src/errors.js';
import type { LoadedJob } from '../src/job/loaded-job.js';
import { plainJob } from '../src/job/plain-job.js';
import { requireRowForEachSlot } from '../src/job/sampler.js';
import type { Log } from '../src/log.js';
import type { OptimizerConfig } from '../src/optimizer/config.js';
import type { Limits } from '../src/protocol/limits.js';
import type { Checkpoint } from '../src/state/checkpoint.js';
import { lockstepVersion } from '../src/version.js';
import { formatEndpoint, type Endpoint } from '../transport/endpoint.js';
import { refuseOpenDoor } from '../transport/listener.js';
import { latestCheckpoint, type FoundCheckpoint } from '../worker/checkpoint/checkpoint-folder.js';
import { loadJob } from './job-file.js';
import { faultsLeft, refuseImpossible } from './chaos.js';
import { onInterrupt } from './interrupt.js';
import { summarize, type Outcome, type Settled, type Summary } from './summary.js';
import { recordingObserver, type View } from './view.js';

export interface RunOptions {
  readonly job: string;
  readonly numWorkers: number;
  readonly minWorkers: number;
  /** @default the slots */
  readonly maxWorkers: number | undefined;
  readonly overrides: readonly string[];
  readonly steps: number | null;
  /** @default runs/NAME-TIME */
  readonly runDir: string | undefined;
  readonly resume: boolean;
  readonly summary: string | undefined;
  readonly listen: Endpoint;
  /** Required beyond this host; without it a run on this host makes its own. */
  readonly tokenFile: string | undefined;
  /** What the run is given on purpose, to see it recover. */
  readonly faults: readonly Fault[];
  readonly limits: Limits;
  readonly view: View;
  readonly log: Log;
}

/** Brings workers to a coordinator that listens; `train` starts them here, `coordinator` waits for them. */
export interface Launcher {
  start(run: { readonly coordinator: Coordinator; readonly tokenFile: string; readonly log: Log }): void;
  /** The run wants so many workers from now on. */
  scale(numWorkers: number): void;
  /** How a worker's process ended, where it was one of ours. */
  explainLoss(pid: number): Promise<string | null>;
  /** A worker that is out of the run: its process must not live on. */
  end(pid: number): void;
  /** Ends them without waiting. */
  kill(): void;
  /** Resolves when none of them is left. */
  close(): Promise<void>;
}

interface Start {
  /** Unless a checkpoint says another. */
  readonly runId: string;
  readonly startedMs: number;
  /** The process is about to exit with the run as it is. */
  readonly onAbandoned: (outcome: Outcome) => void;
}

/** Runs to the end. The summary's error, if any, is thrown after everything is closed and written. */
export async function runJob(options: RunOptions, launcher: Launcher): Promise<Summary> {
  const startedMs = performance.now();
  const runId = randomBytes(6).toString('hex');
  const summarizeNow = (outcome: Outcome): Summary => {
    const summary = summarize({ ...outcome, numWorkers: options.numWorkers, wallSeconds: secondsSince(startedMs) });
    if (options.summary !== undefined) writeSummary(options.summary, summary);
    return summary;
  };
  let outcome: Outcome = { runId, error: null, result: null, settled: null };
  try {
    outcome = await prepareAndTrain(options, launcher, { runId, startedMs, onAbandoned: summarizeNow });
  } catch (thrown) {
    outcome = { ...outcome, error: toLockstepError(thrown) };
  }
  const summary = summarizeNow(outcome);
  if (outcome.error) throw outcome.error;
  return summary;
}

async function prepareAndTrain(options: RunOptions, launcher: Launcher, start: Start): Promise<Outcome> {
  const { log, resume } = options;
  const loaded = await loadJob(options.job, options.overrides);
  const path = resolve(options.runDir ?? join('runs', `${loaded.job.name}-${timestamp()}`));
  if (resume && options.runDir === undefined) {
    throw new LockstepError('ERR_USAGE', '--resume needs --run-dir DIR: the run to go on with.');
  }
  refuseNumWorkers(options);
  refuseOpenDoor(options.listen, options.tokenFile !== undefined);
  const found = resume ? await latestCheckpoint(checkpointFolder(path), log) : undefined;
  if (resume && !found) log.warn(`${path} has no checkpoint; the run begins anew`);
  const settled = settle(loaded, options.numWorkers, found?.checkpoint);
  // Nothing is written before all that is known here fits.
  refuseImpossible(options, settled.slots);
  const folder = await RunFolder.open(path, { resume, log });
  try {
    const runId = found?.checkpoint.runId ?? start.runId;
    const toOutcome = (result: RunResult): Outcome => ({ runId, error: result.error, settled, result });
    const onAbandoned = (result: RunResult): void => start.onAbandoned(toOutcome(result));
    const result = await train({ options, launcher, loaded, folder, found, settled, runId, onAbandoned });
    const outcome = toOutcome(result);
    await folder.writeSummary(
      summarize({ ...outcome, numWorkers: options.numWorkers, wallSeconds: secondsSince(start.startedMs) }),
    );
    return outcome;
  } finally {
    await folder.close();
  }
}

interface TrainOptions {
  readonly options: RunOptions;
  readonly launcher: Launcher;
  readonly loaded: LoadedJob;
  readonly folder: RunFolder;
  readonly found: FoundCheckpoint | undefined;
  readonly settled: Settled;
  readonly runId: string;
  /** The process is about to exit. */
  readonly onAbandoned: (result: RunResult) => void;
}

async function train(run: TrainOptions): Promise<RunResult> {
  const { options, launcher, loaded, folder, found, settled, runId } = run;
  const { view, log, limits, listen } = options;
  const tokenFile = options.tokenFile ?? (await folder.writeToken());
  const coordinator = await Coordinator.start({
    runId,
    runDir: folder.path,
    loaded,
    overrides: options.overrides,
    numWorkers: options.numWorkers,
    minWorkers: options.minWorkers,
    maxWorkers: options.maxWorkers,
    ...settled,
    steps: options.steps,
    resume: found
      ? { path: found.path, step: found.checkpoint.step, weightsSha256: found.checkpoint.weightsSha256 }
      : null,
    endpoint: listen,
    token: await readToken(tokenFile),
    limits,
    explainLoss: (pid) => launcher.explainLoss(pid),
    onEvicted: (_workerId, pid) => {
      launcher.end(pid);
    },
    findCheckpoint: async () => {
      const newest = await latestCheckpoint(checkpointFolder(folder.path), log);
      return newest ? { step: newest.checkpoint.step, path: newest.path } : null;
    },
    onScaled: (numWorkers) => {
      launcher.scale(numWorkers);
    },
    faults: faultsLeft(options.faults, await folder.readInjections()),
    onInjected: (injection) => {
      folder.noteInjection(injection);
    },
    onCoordinatorFault: () => {
      process.kill(process.pid, 'SIGKILL');
    },
    observer: recordingObserver(folder, view),
    log,
  });
  const stopListening = onInterrupt({
    first: () => {
      view.note('Stopping after this step; press Ctrl-C again to exit at once.');
      coordinator.stop();
    },
    second: () => {
      launcher.kill();
      const error = new LockstepError('ERR_INTERRUPTED', 'A second Ctrl-C ended the run at once.');
      run.onAbandoned(coordinator.resultSoFar(error));
    },
  });
  try {
    const url = formatEndpoint(coordinator.endpoint);
    await folder.writeRun({
      runId,
      name: loaded.job.name,
      url,
      pid: process.pid,
      tokenFile: resolve(tokenFile),
      lockstepVersion,
      startedAt: new Date().toISOString(),
      job: { ...plainJob(loaded.job), ...settled },
    });
    view.begin({ name: loaded.job.name, runDir: folder.path, url, numWorkers: options.numWorkers, ...settled });
    launcher.start({ coordinator, tokenFile: resolve(tokenFile), log });
    return await coordinator.ended;
  } finally {
    view.end();
    await launcher.close();
    await coordinator.close();
    stopListening(); // last: a Ctrl-C while workers end must not end this process without its summary
  }
}

function refuseNumWorkers({ numWorkers, minWorkers, maxWorkers = numWorkers }: RunOptions): void {
  const of = `the ${numWorkers} worker(s) of the run`;
  if (minWorkers > numWorkers)
    throw new LockstepError('ERR_USAGE', `--min-workers (${minWorkers}) is more than ${of}.`);
  if (maxWorkers < numWorkers)
    throw new LockstepError('ERR_USAGE', `--max-workers (${maxWorkers}) is less than ${of}.`);
}

/** What the run is made of for good: a checkpoint's numbers where there is one, else the job's, else this machine's. */
function settle({ job }: LoadedJob, numWorkers: number, checkpoint: Checkpoint | undefined): Settled {
  const fixed = checkpoint && { slots: checkpoint.sampler.slots, threads: Number(checkpoint.job['threads']) };
  const slots = job.slots ?? fixed?.slots ?? numWorkers;
  const threads = job.threads ?? fixed?.threads ?? Math.max(1, Math.floor(availableParallelism() / slots));
  if (slots < numWorkers) {
    const message = `${numWorkers} workers cannot share ${slots} slots: each needs one at least. Use fewer workers, or start a run with more slots.`;
    throw new LockstepError('ERR_JOB_INVALID', message, { details: { slots, numWorkers } });
  }
  requireRowForEachSlot(job.batchSize, slots);
  if (checkpoint) refuseOtherNumbers(checkpoint, { ...job, slots, threads });
  return { slots, threads };
}

/** Whatever would change the bits must be as it was. */
function refuseOtherNumbers(checkpoint: Checkpoint, now: LoadedJob['job'] & Settled): void {
  const was = {
    ...checkpoint.sampler,
    threads: checkpoint.job['threads'],
    microBatches: checkpoint.job['microBatches'],
    loss: checkpoint.job['loss'],
    wire: checkpoint.job['wire'],
    optimizer: unsharded(checkpoint.optimizer),
  };
  const is: Readonly<Record<string, unknown>> = { ...plainJob(now), optimizer: unsharded(now.optimizer) };
  const keys = [
    'seed',
    'slots',
    'threads',
    'batchSize',
    'microBatches',
    'shuffle',
    'lastBatch',
    'loss',
    'wire',
    'optimizer',
  ] as const;
  const changed = keys.filter((key) => JSON.stringify(was[key]) !== JSON.stringify(is[key]));
  if (changed.length === 0) return;
  const differences = changed.map((key) => `${key} was ${JSON.stringify(was[key])} and is ${JSON.stringify(is[key])}`);
  throw new LockstepError(
    'ERR_RESUME_MISMATCH',
    `The job is not the one of the checkpoint: ${differences.join('; ')}. Set them back, or begin a new run with initialWeights.`,
    { details: { differences } },
  );
}

/** Who holds which moments changes no bits. */
function unsharded(optimizer: OptimizerConfig): OptimizerConfig {
  return { ...optimizer, sharded: false };
}

/** At once, since the process may be about to exit. */
function writeSummary(path: string, summary: Summary): void {
  try {
    writeFileSync(path, `${JSON.stringify(summary, null, 2)}\n`);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new LockstepError('ERR_RUN_DIR', `The summary ${path} cannot be written: ${why}.`, { cause });
  }
}

function secondsSince(startedMs: number): number {
  return (performance.now() - startedMs) / 1000;
}

function timestamp(): string {
  return new Date().toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
}
