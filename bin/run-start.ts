/** How the coordinator of a run is started: anew, from a checkpoint, or in the place of one that is gone. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { BestCheckpoint } from '../coordinator/best-checkpoint.js';
import { Coordinator } from '../coordinator/coordinator.js';
import type { CoordinatorOptions } from '../coordinator/coordinator-options.js';
import { FlightLog } from '../coordinator/flight-log.js';
import { pastOf, successorOf, type Journal } from '../coordinator/journal.js';
import type { CheckpointPlace } from '../coordinator/membership-state.js';
import { markOf } from '../coordinator/process-mark.js';
import { checkpointFolder, type RunFolder } from '../coordinator/run-folder.js';
import type { Fault } from '../src/chaos/faults.js';
import { toLockstepError } from '../src/errors.js';
import type { LoadedJob } from '../src/job/loaded-job.js';
import type { Log } from '../src/log.js';
import type { Limits } from '../src/protocol/limits.js';
import type { Injection } from '../src/run-summary.js';
import { formatEndpoint, parseEndpoint, type Endpoint } from '../transport/endpoint.js';
import { checkpointPath, keepCheckpoint, latestCheckpoint } from '../worker/checkpoint/checkpoint-folder.js';
import { verifyCheckpoint } from '../worker/checkpoint/checkpoint-reader.js';
import { faultsLeft } from './chaos.js';
import { settle } from './settle.js';
import type { Settled } from './summary.js';
import { metricsSize, readRecord, type LeftRun } from './take-back.js';
import { recordingObserver, type View } from './view.js';

/** How this coordinator begins: anew, from a checkpoint, or with a run that has lost the one before. */
export interface StartPlan {
  readonly isTakenBack: boolean;
  /** Null: a new run. */
  readonly runId: string | null;
  readonly settled: Settled;
  readonly resume: CoordinatorOptions['resume'];
}

export async function planStart(
  { numWorkers, resume, log }: Pick<StartOptions, 'numWorkers' | 'resume' | 'log'>,
  { path, loaded, left }: { readonly path: string; readonly loaded: LoadedJob; readonly left: LeftRun | null },
): Promise<StartPlan> {
  if (left?.isTakenBack === true) {
    const { runId, slots, threads, numWanted, resume: begun } = left.journal;
    settle({ ...loaded, job: { ...loaded.job, slots, threads } }, numWanted, undefined);
    return { isTakenBack: true, runId, settled: { slots, threads }, resume: begun };
  }
  const found = resume ? await latestCheckpoint(checkpointFolder(path), log) : undefined;
  if (resume && !found) log.warn(`${path} has no checkpoint; the run begins anew`);
  const settled = settle(loaded, numWorkers, found?.checkpoint);
  if (!found) return { isTakenBack: false, runId: null, settled, resume: null };
  const { runId, step, weightsSha256 } = found.checkpoint;
  return { isTakenBack: false, runId, settled, resume: { path: found.path, step, weightsSha256 } };
}

/** What of a command's options the coordinator needs. */
interface StartOptions {
  readonly numWorkers: number;
  readonly minWorkers: number;
  readonly maxWorkers: number | undefined;
  readonly faults: readonly Fault[];
  readonly overrides: readonly string[];
  readonly steps: number | null;
  readonly resume: boolean;
  readonly listen: Endpoint;
  readonly limits: Limits;
  readonly view: View;
  readonly log: Log;
}

export interface RunStart {
  readonly options: StartOptions;
  readonly launcher: {
    explainLoss(pid: number): Promise<string | null>;
    end(pid: number): void;
    scale(numWorkers: number): void;
  };
  readonly loaded: LoadedJob;
  readonly folder: RunFolder;
  /** Null where no checkpoint is the best. */
  readonly best: BestCheckpoint | null;
  readonly plan: StartPlan;
  readonly left: LeftRun | null;
  readonly runId: string;
}

/** Null where the job has none. */
export function bestCheckpoint(
  { job: { best: config } }: LoadedJob,
  { runDir, plan, log }: { readonly runDir: string; readonly plan: StartPlan; readonly log: Log },
): BestCheckpoint | null {
  if (!config) return null;
  const pathOf = (step: number): string => checkpointPath(checkpointFolder(runDir), step);
  const isWhole = async (path: string): Promise<boolean> => {
    return verifyCheckpoint(path).then(
      () => true,
      () => false,
    );
  };
  const goesOn = plan.isTakenBack || plan.resume !== null;
  return new BestCheckpoint({ runDir, config, goesOn, pathOf, isWhole, log });
}

export function beginJournal({ options, folder, loaded, plan, left, runId }: RunStart): Journal {
  const own = { owner: randomBytes(8).toString('hex'), host: hostname(), process: markOf(process.pid) };
  if (left && plan.isTakenBack) return folder.beginJournal(successorOf(left.journal, own));
  return folder.beginJournal({
    ...own,
    runId,
    term: (left?.journal.term ?? 0) + 1,
    url: '',
    ended: false,
    facts: { ...loaded.facts },
    steps: options.steps,
    ...plan.settled,
    resume: plan.resume,
    metricsBytes: metricsSize(folder.path),
    numWanted: options.numWorkers,
    generation: 0,
    roster: [],
    checkpoint: null,
    recoveries: [],
    launched: [],
  });
}

export async function startCoordinator(run: RunStart, journal: Journal, token: string): Promise<Coordinator> {
  const { options, launcher, loaded, folder, best, plan, left, runId } = run;
  const { view, log, limits } = options;
  const { term } = journal.content;
  const isBack = plan.isTakenBack && left !== null;
  const injections = await folder.readInjections();
  const before = isBack ? { ...(await readRecord(folder.path, left.journal)), injections } : null;
  // The coordinator before may have died between the two files.
  if (before?.validation) best?.onValidation(before.validation);
  const starting = {
    runId,
    term,
    past: isBack ? pastOf(journal.content) : null,
    before,
    journal,
    flight: FlightLog.open(folder.path, { isTakenBack: isBack, log }),
    runDir: folder.path,
    loaded,
    overrides: options.overrides,
    numWorkers: options.numWorkers,
    minWorkers: options.minWorkers,
    maxWorkers: options.maxWorkers,
    ...plan.settled,
    steps: options.steps,
    resume: plan.resume,
    token,
    limits,
    explainLoss: (pid: number) => launcher.explainLoss(pid),
    onEvicted: (_workerId: string, pid: number) => {
      launcher.end(pid);
    },
    findCheckpoint: async (told: CheckpointPlace | null) => {
      const newest = await latestCheckpoint(checkpointFolder(folder.path), log);
      if (newest) return { step: newest.checkpoint.step, path: newest.path };
      // One that lies here is damaged; the disk of another host is out of sight.
      return told && existsSync(told.path) ? null : told;
    },
    keepCheckpoint: async (aside: string, path: string) =>
      keepCheckpoint(aside, path, { keep: loaded.job.checkpointsKept, log }),
    onRunFound: (found: string) => {
      log.info(`takes back run ${found}, as its workers say`, { runId: found });
      void folder.renameRun(found);
    },
    onScaled: (numWorkers: number) => {
      launcher.scale(numWorkers);
    },
    faults: faultsLeft(options.faults, injections),
    onInjected: (injection: Injection) => {
      folder.noteInjection(injection);
    },
    onCoordinatorFault: () => {
      process.kill(process.pid, 'SIGKILL');
    },
    observer: recordingObserver(folder, view, best),
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
