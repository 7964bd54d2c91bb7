/** What the compute thread (the process's main thread) and the comm thread say to one another outside of steps. */
import type { MessagePort } from 'node:worker_threads';
import type { WorkerFault } from '../../src/chaos/faults.js';
import type { WireFormat } from '../../src/collective/wire.js';
import type { ErrorCode, LockstepError } from '../../src/errors.js';
import { isErrorCode, LockstepError as LockstepErrorClass } from '../../src/errors.js';
import type { LogFields, LogLevel } from '../../src/log.js';
import type { Entry } from '../../src/membership/participant.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import type { MomentRegion } from '../../src/optimizer/optimizer.js';
import type { Limits } from '../../src/protocol/limits.js';
import type { Addresses, FromCoordinator, FromWorker, Generation, RosterEntry } from '../../src/protocol/messages.js';
import type { SharedMemory } from '../../src/protocol/peer-messages.js';
import type { SharedFlatMemory } from '../../src/state/memory.js';
import type { Endpoint } from '../../transport/endpoint.js';
import type { SharedSteps } from '../../src/flight/step-ring.js';
import type { CommTimes } from './comm-times.js';
import type { SharedStepWords } from './step-words.js';

/** What the comm thread is started with. */
export interface CommOptions {
  readonly workerId: string;
  readonly coordinator: Endpoint;
  readonly token: string | null;
  readonly limits: Limits;
  /** The addon by which workers of one host read one another's memory; null: none. */
  readonly sharedPagesPath: string | null;
  /** A network address for peers of other hosts; null: this host only. */
  readonly listen: Endpoint | null;
}

/** What does not change in a run, as the comm thread needs it. */
export interface RunSetup {
  readonly runId: string;
  /** Slots of the run, over all ranks. */
  readonly slots: number;
  readonly memory: SharedFlatMemory;
  readonly times: CommTimes;
  /** What the compute thread tells of its last steps. */
  readonly steps: SharedSteps;
  /** The addon that tells of buckets from inside of a step; null: none. */
  readonly stepAddonPath: string | null;
  /** The memory as peers of this host can mount it; null where they cannot. */
  readonly sharedMemory: SharedMemory | null;
  readonly optimizer: OptimizerConfig;
  readonly onNotFinite: 'stop' | 'skip';
  readonly bucketBytes: number;
  readonly wire: WireFormat;
  /** Threads of this host's processor that compute; 0: a GPU does. */
  readonly computeThreads: number;
}

/** What the compute thread has to know of a generation whose steps may begin. */
export interface Begun {
  readonly generation: Generation;
  readonly self: RosterEntry;
  readonly words: SharedStepWords;
  /** Of the addon, for the comm thread; 0 where there is none. */
  readonly waker: number;
  /** The compute thread reduces and commits by itself (local-reduction.ts). */
  readonly inMemory: boolean;
  /** Steps whose records the coordinator has. */
  readonly told: number;
  /** Steps after which its last validation was. */
  readonly validated: number;
  /** What is to befall it on purpose, or another one. */
  readonly faults: readonly WorkerFault[];
}

export type ToComm =
  | { readonly type: 'send'; readonly message: FromWorker }
  | { readonly type: 'heartbeats'; readonly intervalMs: number }
  /** Once, before `ready`. */
  | { readonly type: 'run'; readonly setup: RunSetup }
  /** The answer to `enter`. `filled`: the memory holds the state that the generation begins with. */
  | { readonly type: 'resting'; readonly generation: number; readonly filled: boolean }
  /** Once at a time; answered by `gathered`. */
  | { readonly type: 'gather-moments'; readonly region: MomentRegion; readonly bucket: number }
  /** Once at a time; answered by `injected`, where there is an after. `step`: committed. */
  | { readonly type: 'inject'; readonly fault: WorkerFault; readonly step: number }
  /** Of who asks about files of the run directory; it is handed over. */
  | { readonly type: 'files'; readonly port: MessagePort }
  | { readonly type: 'close' };

/** What the comm thread makes of the coordinator's halts, generations and starts. */
export type OfGeneration =
  /** Nothing of an older generation commits any more, or begins. */
  | { readonly type: 'halted'; readonly generation: number }
  /** Come to rest; where the source is a checkpoint, fill the memory. */
  | { readonly type: 'enter'; readonly entry: Entry }
  | { readonly type: 'begin'; readonly begun: Begun };

/** What a worker holds when no coordinator comes any more. */
export interface Left {
  /** Steps committed, whose state it holds whole. */
  readonly step: number;
  /** No worker of a lower rank is there, as far as it knows. */
  readonly isFirst: boolean;
}

export type FromComm =
  | { readonly type: 'online'; readonly addresses: Addresses }
  /** All but what the comm thread sees to itself: halts, generations and their starts. */
  | { readonly type: 'received'; readonly message: FromCoordinator }
  | OfGeneration
  /** `whole` false: the generation ended before. */
  | { readonly type: 'gathered'; readonly whole: boolean }
  | { readonly type: 'injected' }
  | { readonly type: 'failed'; readonly error: PlainError }
  /** As `failed`: no coordinator comes any more. */
  | { readonly type: 'orphaned'; readonly error: PlainError; readonly left: Left }
  | { readonly type: 'log'; readonly level: LogLevel; readonly message: string; readonly fields: LogFields }
  | { readonly type: 'closed' };

/** An error that crosses threads: a class does not survive the structured clone. */
export interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
}

export function toPlainError({ code, message }: LockstepError): PlainError {
  return { code, message };
}

export function fromPlainError({ code, message }: PlainError): LockstepError {
  return new LockstepErrorClass(isErrorCode(code) ? code : 'ERR_INTERNAL', message);
}
