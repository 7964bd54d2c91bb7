/**
 * What `train` and `coordinator` share: opens the run directory, settles what the run is, runs the coordinator, shows its
 * progress, and writes the summary however it ends.
 */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { Coordinator } from '../coordinator/coordinator.js';
import type { Journal, Launched } from '../coordinator/journal.js';
import { markOf } from '../coordinator/process-mark.js';
import { checkpointFolder, readToken, RunFolder } from '../coordinator/run-folder.js';
import type { CoordinatorOptions, RunResult } from '../coordinator/coordinator-options.js';
import { LockstepError, toLockstepError } from '../src/errors.js';
import type { LoadedJob } from '../src/job/loaded-job.js';
import { plainJob } from '../src/job/plain-job.js';
import type { Log } from '../src/log.js';
import type { Limits } from '../src/protocol/limits.js';
import { lockstepVersion } from '../src/version.js';
import { formatEndpoint, parseEndpoint, type Endpoint } from '../transport/endpoint.js';
import { refuseOpenDoor } from '../transport/listener.js';
import { latestCheckpoint } from '../worker/checkpoint/checkpoint-folder.js';
import { loadJob } from './job-file.js';
import { onInterrupt } from './interrupt.js';
import { settle } from './settle.js';
import { summarize, type Outcome, type Settled, type Summary } from './summary.js';
import { findLeftRun, metricsSize, readRecord, type LeftRun } from './take-back.js';
import { recordingObserver, type View } from './view.js';

export interface RunOptions {
  readonly job: string;
  readonly numWorkers: number;
  readonly minWorkers: number;
  readonly overrides: readonly string[];
  readonly steps: number | null;
  /** @default runs/NAME-TIME */
  readonly runDir: string | undefined;
  readonly resume: boolean;
  readonly summary: string | undefined;
  readonly listen: Endpoint;
  /** Required beyond this host; without it a run on this host makes its own. */
  readonly tokenFile: string | undefined;
  readonly limits: Limits;
  readonly view: View;
  readonly log: Log;
}

/** Brings workers to a coordinator that listens; `train` starts them here, `coordinator` waits for them. */
export interface Launcher {
  start(run: {
    readonly coordinator: Coordinator;
    readonly tokenFile: string;
    /** By a command that has had this run before. */
    readonly launched: readonly Launched[];
    /** To be written down, for one that comes after this. */
    readonly onLaunched: (launched: readonly Launched[]) => void;
    readonly log: Log;
  }): void;
  /** How a worker's process ended, where it was one of ours. */
  explainLoss(pid: number): Promise<string | null>;
  /** A worker that is out of the run: its process must not live on. */
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
  const loaded = await loadJob(options.job, options.overrides);
  const path = resolve(options.runDir ?? join('runs', `${loaded.job.name}-${timestamp()}`));
  if (resume && options.runDir === undefined) {
    throw new LockstepError('ERR_USAGE', '--resume needs --run-dir DIR: the run to go on with.');
  }
  if (options.minWorkers > options.numWorkers) {
    const message = `--min-workers (${options.minWorkers}) is more than the ${options.numWorkers} worker(s) of the run.`;
    throw new LockstepError('ERR_USAGE', message);
  }
  refuseOpenDoor(options.listen, options.tokenFile !== undefined);
  const { steps, tokenFile, limits } = options;
  const left = await findLeftRun({ runDir: path, loaded, steps, resume, tokenFile, limits, log });
  const plan = await planStart(options, { path, loaded, left });
  // Nothing is written before all that is known here fits.
  const folder = await RunFolder.open(path, { resume: resume || plan.isTakenBack, log });
  try {
    const runId = plan.runId ?? start.runId;
    const toOutcome = (result: RunResult): Outcome => {
      return { runId: result.runId, error: result.error, settled: plan.settled, result };
    };
    const onAbandoned = (result: RunResult): void => start.onAbandoned(toOutcome(result));
    const result = await train({ options, launcher, loaded, folder, plan, left, runId, onAbandoned });
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

/** How this coordinator begins: anew, from a checkpoint, or with a run that has lost the one before. */
interface StartPlan {
  readonly isTakenBack: boolean;
  /** Null: a new run. */
  readonly runId: string | null;
  readonly settled: Settled;
  readonly resume: CoordinatorOptions['resume'];
}

async function planStart(
  { numWorkers, resume, log }: RunOptions,
  { path, loaded, left }: { readonly path: string; readonly loaded: LoadedJob; readonly left: LeftRun | null },
): Promise<StartPlan> {
  if (left?.isTakenBack === true) {
    const { runId, slots, threads, resume: begun } = left.journal;
    settle({ ...loaded, job: { ...loaded.job, slots, threads } }, numWorkers, undefined);
    return { isTakenBack: true, runId, settled: { slots, threads }, resume: begun };
  }
  const found = resume ? await latestCheckpoint(checkpointFolder(path), log) : undefined;
  if (resume && !found) log.warn(`${path} has no checkpoint; the run begins anew`);
  const settled = settle(loaded, numWorkers, found?.checkpoint);
  if (!found) return { isTakenBack: false, runId: null, settled, resume: null };
  const { runId, step, weightsSha256 } = found.checkpoint;
  return { isTakenBack: false, runId, settled, resume: { path: found.path, step, weightsSha256 } };
}

interface TrainOptions {
  readonly options: RunOptions;
  readonly launcher: Launcher;
  readonly loaded: LoadedJob;
  readonly folder: RunFolder;
  readonly plan: StartPlan;
  readonly left: LeftRun | null;
  readonly runId: string;
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

function beginJournal({ options, folder, loaded, plan, left, runId }: TrainOptions): Journal {
  const own = { host: hostname(), process: markOf(process.pid), ended: false };
  if (left && plan.isTakenBack) return folder.beginJournal({ ...left.journal, ...own, term: left.journal.term + 1 });
  return folder.beginJournal({
    ...own,
    runId,
    term: (left?.journal.term ?? 0) + 1,
    url: '',
    facts: { ...loaded.facts },
    steps: options.steps,
    ...plan.settled,
    resume: plan.resume,
    metricsBytes: metricsSize(folder.path),
    generation: 0,
    roster: [],
    checkpoint: null,
    recoveries: [],
    launched: [],
  });
}

async function startCoordinator(run: TrainOptions, journal: Journal, token: string): Promise<Coordinator> {
  const { options, launcher, loaded, folder, plan, left, runId } = run;
  const { view, log, limits } = options;
  const { term, generation, roster } = journal.content;
  const isBack = plan.isTakenBack && left !== null;
  const starting = {
    runId,
    term,
    past: isBack ? { generation, roster } : null,
    before: isBack ? await readRecord(folder.path, left.journal) : null,
    journal,
    runDir: folder.path,
    loaded,
    overrides: options.overrides,
    numWorkers: options.numWorkers,
    minWorkers: options.minWorkers,
    ...plan.settled,
    steps: options.steps,
    resume: plan.resume,
    token,
    limits,
    explainLoss: (pid: number) => launcher.explainLoss(pid),
    onEvicted: (_workerId: string, pid: number) => {
      launcher.end(pid);
    },
    findCheckpoint: async () => {
      const newest = await latestCheckpoint(checkpointFolder(folder.path), log);
      return newest ? { step: newest.checkpoint.step, path: newest.path } : null;
    },
    onRunFound: (found: string) => {
      log.info(`takes back run ${found}, as its workers say`, { runId: found });
      void folder.renameRun(found);
    },
    observer: recordingObserver(folder, view),
    log,
  };
  if (!isBack) return Coordinator.start({ ...starting, endpoint: options.listen });
  const endpoint = sameEndpoint(options.listen, left.journal.url);
  return Coordinator.start({ ...starting, endpoint }).catch((error: unknown) => {
    // The one before may be there and stopped: workers that can read the run's folder find this one elsewhere.
    if (toLockstepError(error).code !== 'ERR_ADDRESS_IN_USE' || endpoint.kind !== 'tcp') throw error;
    log.warn(`${formatEndpoint(endpoint)} is in use still: listening on another port`);
    return Coordinator.start({ ...starting, endpoint: { ...endpoint, port: 0 } });
  });
}

/** Where workers look for it: a port that was taken by chance is asked for again. */
function sameEndpoint(listen: Endpoint, url: string): Endpoint {
  if (url === '' || listen.kind !== 'tcp' || listen.port !== 0) return listen;
  return parseEndpoint(url);
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
