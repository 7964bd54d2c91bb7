/** What the membership machine knows, hears and decides, as data. The machine itself is in membership.ts. */
import type { LockstepError } from '../src/errors.js';
import type { Facts } from '../src/protocol/facts.js';
import type { Addresses, FromWorker, RosterEntry, Standing } from '../src/protocol/messages.js';

export type Stage = Extract<FromWorker, { type: 'heartbeat' }>['stage'];

/** How long the run waits for what. */
export interface Patience {
  /** Silence of a worker in a generation, after which it is lost. */
  readonly heartbeatTimeoutMs: number;
  /** The same of one that still loads. */
  readonly loadingTimeoutMs: number;
  /** For a worker that has said hello to be ready. */
  readonly readyTimeoutMs: number;
  /** The least time that one step's gradients may take; slow steps get more. */
  readonly stepTimeoutMs: number;
  /** The same of what lies between two steps. */
  readonly betweenStepsTimeoutMs: number;
  /** For a worker to say `halted`, and `connected`. */
  readonly connectTimeoutMs: number;
  /** For workers to come, where there are too few. */
  readonly workersTimeoutMs: number;
  /** For the workers of a run to say hello to a coordinator that is back. */
  readonly returnTimeoutMs: number;
}

/** What does not change in a run. */
export interface MembershipConfig {
  readonly runId: string;
  /** Of this coordinator: higher than that of any before it, as far as it knows. */
  readonly term: number;
  /** What a coordinator before this one has written down; null: nothing is known of one. */
  readonly past: Past | null;
  /** Workers that the run wants at first: it begins with them, and takes no more. */
  readonly numWorkers: number;
  /** With fewer it waits, and it is not scaled to fewer. */
  readonly minWorkers: number;
  readonly slots: number;
  /** Each worker has a share of the optimizer's moments that nobody else has. */
  readonly isSharded: boolean;
  /** Where the run begins; null: at the job's first weights. */
  readonly checkpoint: CheckpointPlace | null;
  /** Facts that every worker has to agree on, known before the first one is ready. */
  readonly facts: Facts;
  readonly patience: Patience;
}

/** The last generation that was formed, as the journal has it, and how many workers the run wanted last. */
export interface Past {
  readonly numWanted: number;
  readonly generation: number;
  /** By rank. */
  readonly roster: readonly RosterEntry[];
  /** The newest; null: none is known of. */
  readonly checkpoint: CheckpointPlace | null;
}

export interface CheckpointPlace {
  readonly step: number;
  readonly path: string;
}

/**
 * loading → ready → connecting → connected → training ⇄ holding → finished, and with the next generation from each after
 * ready: halting → halted → connecting
 */
export type WorkerState =
  'loading' | 'ready' | 'halting' | 'halted' | 'connecting' | 'connected' | 'training' | 'holding' | 'finished';

export interface Member {
  readonly workerId: string;
  readonly host: string;
  readonly pid: number;
  /** It is on another host than the coordinator: its silence may be the network's. */
  readonly isRemote: boolean;
  readonly state: WorkerState;
  /** Steps committed, as last heard. */
  readonly step: number;
  /** Steps whose state it holds whole, as it said when it halted; null: none. */
  readonly heldStep: number | null;
  /** What it waits for, in words, as last heard. */
  readonly waiting: string | null;
  /** How far it is with the step after those committed, as last heard. */
  readonly stage: Stage;
  /** It would have the steps of its generation reduced in memory. */
  readonly prefersMemory: boolean;
  readonly lastSeenMs: number;
  /** Since when it has told of nothing new. */
  readonly sinceMs: number;
  /** Since when it waits for the same, in the same words. */
  readonly waitingSinceMs: number;
  /** When it told of its last step; null: of none in this generation. */
  readonly steppedMs: number | null;
  /** The slowest of its recent steps. */
  readonly slowestMs: number;
  readonly device: string;
  readonly addresses: Addresses | null;
  readonly weightsSha256: string | null;
}

/**
 * `returning`: this coordinator has taken a run back, and waits for its workers to say hello. `gathering`: too few workers are
 * ready. `halting`: those of the last generation are asked what they hold.
 */
export type Phase = 'returning' | 'gathering' | 'halting' | 'connecting' | 'training' | 'finished' | 'failed';

export type ChangeKind = 'lost' | 'silent' | 'hung' | 'diverged' | 'slow' | 'left' | 'joined' | 'coordinator';

/** What the run goes on after: a worker that is no longer in it, a new one, or the coordinator's return. */
export interface Change {
  readonly kind: ChangeKind;
  /** Null: it is no worker's. */
  readonly workerId: string | null;
  readonly pid: number | null;
  readonly why: string;
  /** From its last sign of life until this was noticed; 0 where its connection told. Of a coordinator: how long it was away. */
  readonly detectedMs: number;
  readonly atMs: number;
}

/** A coordinator's return that is under way. */
export interface Return {
  /** It has started, or is cut off from all workers. */
  readonly cause: 'start' | 'cut-off';
  /** False: nothing is heard of anybody, and the time that workers have to come back has not begun. */
  readonly isConnected: boolean;
  readonly sinceMs: number;
  /** From when workers heard of a coordinator last until this one began, or was heard of again. */
  readonly awayMs: number;
  /** The generation of the roster. */
  readonly entered: number;
  /** Workers of the roster that have neither said hello and `ready` again, nor are known to be lost. */
  readonly awaited: readonly string[];
}

/** A change that the run has dealt with. */
export interface Recovery extends Omit<Change, 'atMs'> {
  /** Steps committed when the run went on. */
  readonly step: number;
  /** From when the change was noticed until all went on. */
  readonly resumedMs: number;
  /** Slots that another worker has now, which computes them again where it had no partial of the step. */
  readonly recomputedSlots: number;
  /** In the new generation. */
  readonly numWorkers: number;
}

export interface MembershipState {
  readonly runId: string;
  readonly term: number;
  readonly phase: Phase;
  /** Null in any phase but `returning`. */
  readonly returning: Return | null;
  readonly members: ReadonlyMap<string, Member>;
  /** Workers that the run wants, by now. */
  readonly numWanted: number;
  /** Also of the one that is being made. */
  readonly generation: number;
  /** By rank, of the last generation that was formed; empty before. */
  readonly roster: readonly RosterEntry[];
  /** Whether a generation was started. */
  readonly hasStarted: boolean;
  /** The facts of the run: those configured, and those of the first worker. */
  readonly facts: Facts;
  /** The newest that is known to be whole. */
  readonly checkpoint: CheckpointPlace | null;
  /** Nobody has the state any more, and the newest checkpoint is being looked for. */
  readonly isSeeking: boolean;
  /** What the generation that is being made is for, so far. */
  readonly changes: readonly Change[];
  /** Slots that changed hands since all went on last. */
  readonly movedSlots: number;
  /** A worker has finished: no step is left to take. */
  readonly isAtEnd: boolean;
  /** Ctrl-C: the run is to end after the step that is under way. */
  readonly isStopping: boolean;
  /** Why the run ends once its state is in a checkpoint; null: it goes on, or ends well. */
  readonly ending: LockstepError | null;
  /** Where a drained run ends, in steps; null until that is agreed. */
  readonly stopAfter: number | null;
  /** Why no worker will come any more; null: one may. */
  readonly noMoreWorkers: string | null;
  /** Of the last event. */
  readonly nowMs: number;
  /** When the run began to wait for workers to come; null: it has enough, or some are on their way. */
  readonly shortSinceMs: number | null;
  /** The last worker that was lost. */
  readonly lastLoss: LockstepError | null;
}

export type MembershipEvent =
  | {
      readonly type: 'hello';
      readonly workerId: string;
      readonly host: string;
      readonly pid: number;
      /** It is on another host than the coordinator. */
      readonly isRemote: boolean;
      /** Null: it begins. */
      readonly standing: Standing | null;
    }
  | {
      readonly type: 'ready';
      readonly workerId: string;
      readonly device: string;
      readonly addresses: Addresses;
      readonly facts: Facts;
    }
  | { readonly type: 'halted'; readonly workerId: string; readonly generation: number; readonly step: number | null }
  | {
      readonly type: 'connected';
      readonly workerId: string;
      readonly generation: number;
      readonly prefersMemory: boolean;
    }
  | {
      readonly type: 'heartbeat';
      readonly workerId: string;
      readonly step: number;
      readonly waiting: string | null;
      readonly stage: Stage;
    }
  | { readonly type: 'draining'; readonly workerId: string; readonly step: number }
  | { readonly type: 'leaving'; readonly workerId: string; readonly step: number }
  | { readonly type: 'finished'; readonly workerId: string; readonly step: number; readonly weightsSha256: string }
  | { readonly type: 'failed'; readonly workerId: string; readonly error: LockstepError }
  | { readonly type: 'lost'; readonly workerId: string; readonly why: string }
  /** These have another state than most. */
  | { readonly type: 'diverged'; readonly workerIds: readonly string[]; readonly why: string }
  /** It has been slower than the others for too long. */
  | { readonly type: 'straggling'; readonly workerId: string; readonly why: string }
  | { readonly type: 'checkpointed'; readonly step: number; readonly path: string }
  /** The answer to `seek-checkpoint`; null: none is whole, so the run begins anew. */
  | { readonly type: 'checkpoint-found'; readonly checkpoint: CheckpointPlace | null }
  | { readonly type: 'no-more-workers'; readonly why: string }
  | { readonly type: 'abandon'; readonly error: LockstepError }
  /** The run wants another number of workers; refuseScale has let it pass. */
  | { readonly type: 'scale'; readonly numWorkers: number }
  | { readonly type: 'stop' }
  | { readonly type: 'tick' };

export type MembershipEffect =
  | { readonly type: 'welcome'; readonly workerId: string }
  | { readonly type: 'refuse'; readonly workerId: string; readonly error: LockstepError }
  /** As `refuse`, and its process may still run: it is to be ended. */
  | { readonly type: 'evict'; readonly workerId: string; readonly pid: number; readonly error: LockstepError }
  | { readonly type: 'dismiss'; readonly workerId: string }
  /** Their connections are given up, without a word: they will open others. */
  | { readonly type: 'forget'; readonly workerIds: readonly string[] }
  | { readonly type: 'halt'; readonly generation: number; readonly workerIds: readonly string[] }
  | { readonly type: 'seek-checkpoint' }
  | {
      readonly type: 'form-generation';
      readonly generation: number;
      readonly step: number;
      readonly resumeFrom: string | null;
      readonly roster: readonly RosterEntry[];
    }
  | {
      readonly type: 'start';
      readonly generation: number;
      readonly inMemory: boolean;
      readonly workerIds: readonly string[];
      readonly recoveries: readonly Recovery[];
    }
  /** The coordinator is back, and all go on in the generation that they are in, as they did without it. */
  | {
      readonly type: 'adopt';
      readonly step: number;
      readonly workerIds: readonly string[];
      readonly recoveries: readonly Recovery[];
    }
  /** A newer coordinator has the run: this one ends, and leaves the workers to it. */
  | { readonly type: 'yield'; readonly error: LockstepError }
  /** To be told to whoever watches. */
  | { readonly type: 'warn'; readonly text: string }
  | { readonly type: 'drain'; readonly workerIds: readonly string[] }
  | { readonly type: 'stop-after'; readonly step: number; readonly workerIds: readonly string[] }
  | { readonly type: 'finish'; readonly step: number; readonly weightsSha256: string }
  | { readonly type: 'fail'; readonly error: LockstepError };

export interface MembershipStep {
  readonly state: MembershipState;
  readonly effects: readonly MembershipEffect[];
}

export interface MembershipTransition extends MembershipStep {
  /** What the run waits for, in words; null while it trains. */
  readonly reason: string | null;
}
