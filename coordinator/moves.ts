/**
 * The four moves that make a generation: halt, form, connect, start. Whatever the reason, they are these, and whatever
 * comes between begins them anew with the next number. Docs: docs/decisions/0016-the-next-generation.md.
 */
import { LockstepError } from '../src/errors.js';
import { andThen, fail, idsOf, isInRoster, liveRoster, membersThat, nameOf, still } from './members.js';
import { updateMember, updateRoster, withoutMember } from './members.js';
import type {
  Change,
  ChangeKind,
  Member,
  MembershipConfig,
  MembershipState,
  MembershipStep,
  Recovery,
  Return,
} from './membership-state.js';
import { countMovedSlots, nextRoster } from './roster.js';

export interface Loss {
  readonly kind: Exclude<ChangeKind, 'joined' | 'coordinator'>;
  readonly why: string;
  readonly detectedMs: number;
}

/** A worker is no longer in the run. */
export function lose(config: MembershipConfig, before: MembershipState, member: Member, loss: Loss): MembershipStep {
  const { workerId, pid } = member;
  const error = lostError(before, member, loss);
  const state = { ...withoutMember(before, workerId), lastLoss: error };
  if (!isInRoster(before, workerId)) {
    const changes = state.changes.filter((change) => change.workerId !== workerId); // it comes to nothing
    return formWhenPossible(config, { ...state, changes });
  }
  const change: Change = { ...loss, workerId, pid, atMs: state.nowMs };
  const changed = { ...state, changes: [...state.changes, change] };
  // Dealt with when all others are there.
  if (changed.returning) return still({ ...changed, returning: withoutAwaited(changed.returning, workerId) });
  return beginMoves(config, changed);
}

export function withoutAwaited(returning: Return, workerId: string): Return {
  return { ...returning, awaited: returning.awaited.filter((id) => id !== workerId) };
}

/** Still connected, and it ends by itself. */
export function letGo(config: MembershipConfig, state: MembershipState, member: Member, loss: Loss): MembershipStep {
  const dismissed: MembershipStep = { state, effects: [{ type: 'dismiss', workerId: member.workerId }] };
  return andThen(dismissed, (next) => lose(config, next, member, loss));
}

/** First move: nothing of an older generation than this is committed any more. */
export function beginMoves(config: MembershipConfig, before: MembershipState): MembershipStep {
  const generation = before.generation + 1;
  const workerIds = idsOf(liveRoster(before));
  const state = { ...updateRoster(before, { state: 'halting', sinceMs: before.nowMs }), generation };
  // Nobody holds a partial or a state: there is nothing to keep together.
  if (workerIds.length === 0) return formWhenPossible(config, { ...state, phase: 'gathering', roster: [] });
  return { state: { ...state, phase: 'halting' }, effects: [{ type: 'halt', generation, workerIds }] };
}

export interface Forming {
  /** Go on with fewer workers than wanted. */
  readonly isImpatient?: boolean;
  /** The newest checkpoint has been looked for. */
  readonly isCheckpointSought?: boolean;
}

/** Second move, once all that live have halted and are enough. */
export function formWhenPossible(
  config: MembershipConfig,
  state: MembershipState,
  forming: Forming = {},
): MembershipStep {
  const isForming = state.phase === 'gathering' || state.phase === 'halting';
  if (!isForming || membersThat(state, 'halting').length > 0) return still(state);
  const workers = membersThat(state, 'halted', 'ready');
  if (workers.length < numNeeded(config, state, forming)) return still({ ...state, phase: 'gathering' });
  const held = workers.flatMap(({ heldStep }) => heldStep ?? []);
  if (held.length > 0) return form(config, state, workers, { step: Math.max(...held), path: null });
  if (!state.hasStarted || forming.isCheckpointSought === true) {
    return form(config, state, workers, state.checkpoint ?? { step: 0, path: null });
  }
  if (state.isSeeking) return still(state);
  return { state: { ...state, phase: 'gathering', isSeeking: true }, effects: [{ type: 'seek-checkpoint' }] };
}

/** Whoever is left takes a run to its end that stops, or has no step left. */
function numNeeded(
  config: MembershipConfig,
  { hasStarted, isAtEnd, isStopping, numWanted }: MembershipState,
  forming: Forming,
): number {
  if (isAtEnd || isStopping) return 1;
  return hasStarted || forming.isImpatient === true ? config.minWorkers : numWanted;
}

function form(
  config: MembershipConfig,
  before: MembershipState,
  workers: readonly Member[],
  { step, path: resumeFrom }: { readonly step: number; readonly path: string | null },
): MembershipStep {
  const generation = Math.max(1, before.generation);
  const roster = nextRoster(config.slots, workers, before.roster);
  const movedSlots = before.movedSlots + countMovedSlots(before.roster, roster);
  const state = { ...before, phase: 'connecting', generation, roster, movedSlots, isSeeking: false } as const;
  return {
    state: updateRoster(state, { state: 'connecting', step, sinceMs: before.nowMs }),
    effects: [{ type: 'form-generation', generation, step, resumeFrom, roster }],
  };
}

/** Third and fourth move: with all connected they go on, unless there is one more by now. */
export function startWhenConnected(config: MembershipConfig, state: MembershipState): MembershipStep {
  if (!liveRoster(state).every((member) => member.state === 'connected')) return still(state);
  return isWanted(config, state) ? beginMoves(config, state) : start(state);
}

/**
 * A worker that is ready, and that the run has a place for. Where the optimizer is sharded the others cannot give it the state: it waits
 * for the next checkpoint, which all go on from then.
 */
export function isWanted(config: MembershipConfig, state: MembershipState, { isSaved = false } = {}): boolean {
  const roster = liveRoster(state);
  if (state.isStopping || membersThat(state, 'ready').length === 0) return false;
  if (config.isSharded && state.hasStarted && !isSaved) return false;
  return roster.length < state.numWanted && roster.every((member) => member.state !== 'finished');
}

function start(before: MembershipState): MembershipStep {
  const { generation, nowMs, isStopping } = before;
  const workerIds = idsOf(liveRoster(before));
  const fresh = {
    state: 'training',
    stage: null,
    waiting: null,
    weightsSha256: null,
  } as const;
  const state = updateRoster(before, { ...fresh, sinceMs: nowMs, steppedMs: nowMs });
  const inMemory = liveRoster(before).every(({ prefersMemory }) => prefersMemory);
  const recoveries = recoveriesOf(before);
  const settled = { changes: [], movedSlots: 0, stopAfter: null, hasStarted: true } as const;
  return {
    state: { ...state, ...settled, phase: 'training' },
    effects: [
      { type: 'start', generation, inMemory, workerIds, recoveries },
      ...(isStopping ? [{ type: 'drain', workerIds } as const] : []),
    ],
  };
}

/** What the generation that begins, or goes on, is told of. */
export function recoveriesOf({ changes, movedSlots: recomputedSlots, nowMs, ...state }: MembershipState): Recovery[] {
  const numWorkers = state.roster.length;
  const step = state.members.get(state.roster[0]?.workerId ?? '')?.step ?? 0;
  return changes.map(({ atMs, ...change }) => {
    return { ...change, step, resumedMs: nowMs - atMs, recomputedSlots, numWorkers };
  });
}

/** All that are left have finished, with the same weights. */
export function finish(state: MembershipState): MembershipStep {
  if (state.ending) return fail(state, state.ending);
  const { step = 0, weightsSha256 } = liveRoster(state)[0] ?? {};
  return {
    state: { ...state, phase: 'finished' },
    effects: [{ type: 'finish', step, weightsSha256: weightsSha256 ?? '' }],
  };
}

/** A worker answers the first move. */
export function onHalted(
  config: MembershipConfig,
  before: MembershipState,
  {
    workerId,
    generation,
    step,
  }: { readonly workerId: string; readonly generation: number; readonly step: number | null },
): MembershipStep {
  const seen = updateMember(before, workerId, { lastSeenMs: before.nowMs });
  const isAwaited = generation === before.generation && before.members.get(workerId)?.state === 'halting';
  if (!isAwaited) return still(seen);
  const halted = { state: 'halted', heldStep: step, step: step ?? 0, sinceMs: before.nowMs } as const;
  return formWhenPossible(config, updateMember(seen, workerId, halted));
}

function lostError(state: MembershipState, member: Member, { kind, why }: Loss): LockstepError {
  const { workerId, host, pid, step } = member;
  const message = `${nameOf(state, member)} is lost after step ${step}: ${why}.`;
  return new LockstepError('ERR_WORKER_LOST', message, { details: { workerId, host, pid, step, kind, why } });
}
