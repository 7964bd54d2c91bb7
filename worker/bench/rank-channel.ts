/** What the process that measures and the ranks that it started say to one another, over the child's IPC channel. */
import type { Addresses } from '../../src/protocol/messages.js';
import type { Endpoint } from '../../transport/endpoint.js';
import type { PlainError } from '../comm/channel.js';

export type ToRank =
  | {
      readonly type: 'start';
      readonly workerId: string;
      readonly coordinator: Endpoint;
      readonly token: string;
      /** A network address; then nobody reads another's memory, as between hosts. Null: as workers of one host. */
      readonly listen: Endpoint | null;
    }
  | { readonly type: 'measure'; readonly rank: number; readonly numRanks: number; readonly repeats: Repeats }
  | { readonly type: 'end' };

export type FromRank =
  | { readonly type: 'listening'; readonly addresses: Addresses }
  /** It can enter a generation. */
  | { readonly type: 'prepared' }
  | { readonly type: 'measured'; readonly seconds: number }
  | { readonly type: 'failed'; readonly error: PlainError };

/** One size, and how often it is reduced. */
export interface Repeats {
  readonly bytes: number;
  readonly numWarmups: number;
  readonly numTimed: number;
}
