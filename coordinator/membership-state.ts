/** What the membership machine knows, hears and decides, as data. The machine itself is in membership.ts. */
import type { LockstepError } from '../src/errors.js';
import type { Facts } from '../src/protocol/facts.js';
import type { Addresses, RosterEntry } from '../src/protocol/messages.js';

/** What does not change in a run. */
export interface MembershipConfig {
  /** Workers that the run starts with. */
  readonly numWorkers: number;
  readonly slots: number;
  readonly heartbeatTimeoutMs: number;
  /** Facts that every worker has to agree on, known before the first one is ready. */
  readonly facts: Facts;
}

export type WorkerState = 'loading' | 'ready' | 'connected' | 'training' | 'holding' | 'finished';

export interface Member {
  readonly workerId: string;
  readonly host: string;
  readonly pid: number;
  readonly state: WorkerState;
  /** Steps committed, as last heard. */
  readonly step: number;
  /** What it waits for, in words, as last heard. */
  readonly waiting: string | null;
  readonly lastSeenMs: number;
  readonly device: string;
  readonly addresses: Addresses | null;
  readonly weightsSha256: string | null;
}

export type Phase = 'gathering' | 'connecting' | 'training' | 'draining' | 'finished' | 'failed';

export interface MembershipState {
  readonly phase: Phase;
  readonly members: ReadonlyMap<string, Member>;
  readonly generation: number;
  /** By rank; empty before the first generation. */
  readonly roster: readonly RosterEntry[];
  /** The facts of the run: those configured, and those of the first worker. */
  readonly facts: Facts;
  /** Where a drained run ends, in steps; null until that is agreed. */
  readonly stopAfter: number | null;
}

export type MembershipEvent =
  | { readonly type: 'hello'; readonly workerId: string; readonly host: string; readonly pid: number }
  | {
      readonly type: 'ready';
      readonly workerId: string;
      readonly device: string;
      readonly addresses: Addresses;
      readonly facts: Facts;
    }
  | { readonly type: 'connected'; readonly workerId: string; readonly generation: number }
  | { readonly type: 'heartbeat'; readonly workerId: string; readonly step: number; readonly waiting: string | null }
  | { readonly type: 'draining'; readonly workerId: string; readonly step: number }
  | { readonly type: 'finished'; readonly workerId: string; readonly step: number; readonly weightsSha256: string }
  | { readonly type: 'failed'; readonly workerId: string; readonly error: LockstepError }
  | { readonly type: 'lost'; readonly workerId: string; readonly why: string }
  | { readonly type: 'abandon'; readonly error: LockstepError }
  | { readonly type: 'stop' }
  | { readonly type: 'tick' };

export type MembershipEffect =
  | { readonly type: 'welcome'; readonly workerId: string }
  | { readonly type: 'refuse'; readonly workerId: string; readonly error: LockstepError }
  | { readonly type: 'form-generation'; readonly generation: number; readonly roster: readonly RosterEntry[] }
  | { readonly type: 'start'; readonly generation: number }
  | { readonly type: 'drain' }
  | { readonly type: 'stop-after'; readonly step: number }
  | { readonly type: 'finish'; readonly step: number; readonly weightsSha256: string }
  | { readonly type: 'fail'; readonly error: LockstepError };

export interface MembershipTransition {
  readonly state: MembershipState;
  readonly effects: readonly MembershipEffect[];
  /** What the run waits for, in words; null while it trains. */
  readonly reason: string | null;
}
