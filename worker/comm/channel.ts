/** What the compute thread (the process's main thread) and the comm thread say to one another outside of steps. */
import type { WireFormat } from '../../src/collective/wire.js';
import type { ErrorCode, LockstepError } from '../../src/errors.js';
import { isErrorCode, LockstepError as LockstepErrorClass } from '../../src/errors.js';
import type { LogFields, LogLevel } from '../../src/log.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import type { MomentRegion } from '../../src/optimizer/optimizer.js';
import type { Limits } from '../../src/protocol/limits.js';
import type { Addresses, FromCoordinator, FromWorker, Generation, SharedMemory } from '../../src/protocol/messages.js';
import type { Layout } from '../../src/state/layout.js';
import type { SharedFlatMemory } from '../../src/state/memory.js';
import type { Endpoint } from '../../transport/endpoint.js';
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

/** One generation, as the comm thread needs it. */
export interface GenerationSetup {
  readonly runId: string;
  readonly generation: Generation;
  readonly rank: number;
  /** Slots of the run, over all ranks. */
  readonly slots: number;
  readonly layout: Layout;
  readonly memory: SharedFlatMemory;
  readonly words: SharedStepWords;
  readonly times: CommTimes;
  /** The addon that tells of buckets from inside of a step; null: none. */
  readonly stepAddonPath: string | null;
  /** The memory as peers of this host can mount it; null where they cannot. */
  readonly sharedMemory: SharedMemory | null;
  readonly optimizer: OptimizerConfig;
  readonly bucketBytes: number;
  readonly wire: WireFormat;
  /** The first step, counted from 0. */
  readonly step: number;
}

export type ToComm =
  | { readonly type: 'send'; readonly message: FromWorker }
  | { readonly type: 'heartbeats'; readonly intervalMs: number }
  | { readonly type: 'generation'; readonly setup: GenerationSetup }
  /** Once at a time; answered by `gathered`. */
  | { readonly type: 'gather-moments'; readonly region: MomentRegion; readonly bucket: number }
  | { readonly type: 'close' };

export type FromComm =
  | { readonly type: 'online'; readonly addresses: Addresses }
  | { readonly type: 'received'; readonly message: FromCoordinator }
  | { readonly type: 'connected'; readonly generation: number; readonly waker: number }
  | { readonly type: 'gathered' }
  | { readonly type: 'failed'; readonly error: PlainError }
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
