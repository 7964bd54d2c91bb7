/** What a coordinator is started with, and what it comes to. */
import type { Fault } from '../src/chaos/faults.js';
import type { LockstepError } from '../src/errors.js';
import type { LoadedJob } from '../src/job/loaded-job.js';
import type { Log } from '../src/log.js';
import type { Limits } from '../src/protocol/limits.js';
import type { Endpoint } from '../transport/endpoint.js';
import type { FlightLog } from './flight-log.js';
import type { Injection } from '../src/run-summary.js';
import type { CheckpointPlace, Past } from './membership-state.js';
import type { RecordBefore, RunObserver, RunRecord, ToldRecovery } from './run-record.js';

/** Where a coordinator writes down what the next one has to know. */
export interface RunJournal {
  /** Made at random for this start, and written there for others to see. */
  readonly owner: string;
  /** Whether no other coordinator has taken the run. One that did not know of this one has not: its journal is written over. */
  keep(): boolean;
  note(changes: { readonly runId?: string; readonly term?: number } & Partial<Past & Noted>): void;
}

export interface Noted {
  readonly recoveries: readonly ToldRecovery[];
}

export interface CoordinatorOptions {
  readonly runId: string;
  /** Of this coordinator: one more than that of the one before. */
  readonly term: number;
  /** What the coordinator before this one has written down; null: this is the first, as far as is known. */
  readonly past: Past | null;
  readonly before: RecordBefore | null;
  readonly journal: RunJournal | null;
  /** @default nothing is recorded */
  readonly flight?: FlightLog;
  readonly runDir: string;
  readonly loaded: LoadedJob;
  readonly overrides: readonly string[];
  /** Workers that the run wants. */
  readonly numWorkers: number;
  /** With fewer it waits. */
  readonly minWorkers: number;
  /** It is not scaled to more. @default the slots */
  readonly maxWorkers?: number | undefined;
  readonly slots: number;
  readonly threads: number;
  /** Optimizer steps of the whole run at most; null: until the last epoch ends. */
  readonly steps: number | null;
  /** The checkpoint to go on from. */
  readonly resume: { readonly path: string; readonly step: number; readonly weightsSha256: string } | null;
  readonly endpoint: Endpoint;
  readonly token: string | null;
  readonly limits: Limits;
  /** How a worker's process ended, where the launcher knows. */
  readonly explainLoss?: (pid: number) => Promise<string | null>;
  /** A worker's process is out of the run, and may still be there. */
  readonly onEvicted?: (workerId: string, pid: number) => void;
  /** The files of the run were lost: its workers know which one it is. */
  readonly onRunFound?: (runId: string) => void;
  /**
   * The newest whole checkpoint of the run directory, or the one that workers `told` of where that cannot be read from here.
   *
   * @default the one that they told of
   */
  readonly findCheckpoint?: (told: CheckpointPlace | null) => Promise<CheckpointPlace | null>;
  /** The run wants another number of workers from now on. */
  readonly onScaled?: (numWorkers: number) => void;
  /** What the run is given on purpose, to see it recover. @default nothing */
  readonly faults?: readonly Fault[];
  /** Told before a fault comes: there may be no after. */
  readonly onInjected?: (injection: Injection) => void;
  /** Ends this process, as such a fault wants. */
  readonly onCoordinatorFault?: () => void;
  /**
   * Gives a checkpoint that lies aside its name, if it is whole, and removes those that are too old.
   *
   * @throws LockstepError ERR_CHECKPOINT_INVALID
   */
  readonly keepCheckpoint?: (aside: string, path: string) => Promise<boolean>;
  readonly observer: RunObserver;
  readonly log: Log;
}

export interface RunResult {
  /** The one that it was started with, or that of its workers, where its own files were lost. */
  readonly runId: string;
  readonly error: LockstepError | null;
  readonly weightsSha256: string | null;
  /** Null where no worker was ready. */
  readonly record: RunRecord | null;
  readonly generations: number;
}
