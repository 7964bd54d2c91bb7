/**
 * What `train` and `coordinator` share: opens the run directory, settles what the run is, runs the coordinator, shows its
 * progress, and writes the summary however it ends.
 */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Coordinator } from '../coordinator/coordinator.js';
import { within } from '../coordinator/deadline.js';
import type { Launched } from '../coordinator/journal.js';
import { readToken, RunFolder } from '../coordinator/run-folder.js';
import type { RunResult } from '../coordinator/coordinator-options.js';
import type { Fault } from '../src/chaos/faults.js';
import { LockstepError, toLockstepError } from '../src/errors.js';
import { plainJob } from '../src/job/plain-job.js';
import type { Log } from '../src/log.js';
import type { Limits } from '../src/protocol/limits.js';
import { lockstepVersion } from '../src/version.js';
import { formatEndpoint, type Endpoint } from '../transport/endpoint.js';
import { refuseOpenDoor } from '../transport/listener.js';
import { loadJob } from './job-file.js';
import { refuseImpossible } from './chaos.js';
import { onInterrupt } from './interrupt.js';
import { beginJournal, bestCheckpoint, planStart, startCoordinator, type RunStart } from './run-start.js';
import { summarize, type Outcome, type Summary } from './summary.js';
import { findLeftRun } from './take-back.js';
import type { View } from './view.js';

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
  start(run: {
    readonly coordinator: Coordinator;
    readonly tokenFile: string;
    /** Workers that the run wants. */
    readonly numWanted: number;
    /** By a command that has had this run before. */
    readonly launched: readonly Launched[];
    /** To be written down, for one that comes after this. */
    readonly onLaunched: (launched: readonly Launched[]) => void;
    readonly log: Log;
  }): void;
  /** The run wants so many workers from now on. */
  scale(numWorkers: number): void;
  /** How a worker's process ended, where it was one of ours. */
  explainLoss(pid: number): Promise<string | null>;
  /** A worker that is out of the run, and has been told: its process must not live on for long. */
  end(pid: number): void;
  /** Ends them without waiting. */
  kill(): void;
  /** Leaves them to another coordinator. */
  release(): void;
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
  if (outcome.error && isReplaced(outcome.error)) throw outcome.error;
  const summary = summarizeNow(outcome);
  if (outcome.error) throw outcome.error;
  return summary;
}

async function prepareAndTrain(options: RunOptions, launcher: Launcher, start: Start): Promise<Outcome> {
  const { log, resume } = options;
  const { readyTimeoutMs } = options.limits;
  const loaded = await within(loadJob(options.job, options.overrides), readyTimeoutMs, () => {
    const message = `The job file ${options.job} is not loaded after ${readyTimeoutMs} ms. --ready-timeout-ms gives it longer.`;
    return new LockstepError('ERR_JOB_LOAD', message);
  });
  const path = resolve(options.runDir ?? join('runs', `${loaded.job.name}-${timestamp()}`));
  if (resume && options.runDir === undefined) {
    throw new LockstepError('ERR_USAGE', '--resume needs --run-dir DIR: the run to go on with.');
  }
  refuseNumWorkers(options);
  refuseOpenDoor(options.listen, options.tokenFile !== undefined);
  const { steps, tokenFile, limits } = options;
  const left = await findLeftRun({ runDir: path, loaded, steps, resume, tokenFile, limits, log });
  const plan = await planStart(options, { path, loaded, left });
  // Nothing is written before all that is known here fits.
  refuseImpossible(options, plan.settled.slots);
  const folder = await RunFolder.open(path, { resume: resume || plan.isTakenBack, log });
  try {
    const runId = plan.runId ?? start.runId;
    const toOutcome = (result: RunResult): Outcome => {
      return { runId: result.runId, error: result.error, settled: plan.settled, result };
    };
    const onAbandoned = (result: RunResult): void => start.onAbandoned(toOutcome(result));
    const best = bestCheckpoint(loaded, { runDir: folder.path, plan, log });
    const result = await train({ options, launcher, loaded, folder, best, plan, left, runId, onAbandoned });
    await best?.settled();
    const outcome = toOutcome(result);
    if (isReplaced(outcome.error)) return outcome;
    await folder.writeSummary(
      summarize({ ...outcome, numWorkers: options.numWorkers, wallSeconds: secondsSince(start.startedMs) }),
    );
    return outcome;
  } finally {
    folder.close();
  }
}

interface TrainOptions extends RunStart {
  readonly options: RunOptions;
  readonly launcher: Launcher;
  /** The process is about to exit. */
  readonly onAbandoned: (result: RunResult) => void;
}

async function train(run: TrainOptions): Promise<RunResult> {
  const { options, launcher, loaded, folder, plan, left } = run;
  const { view } = options;
  const tokenFile = options.tokenFile ?? (plan.isTakenBack ? folder.tokenFile : await folder.writeToken());
  const journal = beginJournal(run);
  const coordinator = await startCoordinator(run, journal, await readToken(tokenFile)).catch((error: unknown) => {
    if (!plan.isTakenBack) journal.note({ ended: true });
    throw error;
  });
  const stopListening = onInterrupt({
    first: () => {
      view.note('Stopping after this step; press Ctrl-C again to exit at once.');
      coordinator.stop();
    },
    second: () => {
      launcher.kill();
      journal.note({ ended: true });
      const error = new LockstepError('ERR_INTERRUPTED', 'A second Ctrl-C ended the run at once.');
      run.onAbandoned(coordinator.resultSoFar(error));
    },
  });
  try {
    const url = formatEndpoint(coordinator.endpoint);
    journal.note({ url });
    await writeRunFile(run, coordinator, tokenFile);
    const { slots, threads } = plan.settled;
    view.begin({
      name: loaded.job.name,
      runDir: folder.path,
      url,
      numWorkers: options.numWorkers,
      ...{ slots, threads },
    });
    launcher.start({
      ...{ coordinator, log: options.log, tokenFile: resolve(tokenFile) },
      numWanted: journal.content.numWanted,
      launched: plan.isTakenBack && left ? left.journal.launched : [],
      onLaunched: (launched) => {
        journal.note({ launched });
      },
    });
    const result = await coordinator.ended;
    if (isReplaced(result.error)) launcher.release();
    else journal.note({ ended: true });
    return result;
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

async function writeRunFile(
  { loaded, folder, plan, runId }: TrainOptions,
  coordinator: Coordinator,
  tokenFile: string,
): Promise<void> {
  await folder.writeRun({
    runId,
    name: loaded.job.name,
    url: formatEndpoint(coordinator.endpoint),
    pid: process.pid,
    tokenFile: resolve(tokenFile),
    lockstepVersion,
    startedAt: new Date().toISOString(),
    job: { ...plainJob(loaded.job), ...plan.settled },
  });
}

/** Another coordinator has the run, and its files. */
function isReplaced(error: LockstepError | null): boolean {
  return error?.code === 'ERR_COORDINATOR_REPLACED';
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
