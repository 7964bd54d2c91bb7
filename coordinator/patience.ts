/** Whom the run has waited for too long: workers that are silent, that hang, or that do not come. */
import { LockstepError } from '../src/errors.js';
import { andThen, isInRoster, isSomebodyHeard, liveRoster, membersThat, nameOf, still } from './members.js';
import { beginMoves, formWhenPossible, lose, type Loss } from './moves.js';
import { stoppedError, stopWithError } from './stopping.js';
import type {
  Member,
  MembershipConfig,
  MembershipEffect,
  MembershipEvent,
  MembershipState,
  MembershipStep,
} from './membership-state.js';

/** A step may take this many times as long as the slowest of late. */
const slownessAllowed = 20;
/** Where nobody waits for them, as all do the same, or there is one alone, they may take longer by this. */
const togetherness = 60;

/**
 * This process was stopped, or busy: what it did not hear then is no silence of the workers, and what it did not see is no
 * standstill.
 */
export function forgiveAbsence({ patience }: MembershipConfig, state: MembershipState, nowMs: number): MembershipState {
  const awayMs = nowMs - state.nowMs;
  if (awayMs <= patience.heartbeatTimeoutMs / 2) return { ...state, nowMs };
  const members = [...state.members].map(([id, member]): [string, Member] => {
    const { lastSeenMs, sinceMs, waitingSinceMs } = member;
    const later = { lastSeenMs: lastSeenMs + awayMs, sinceMs: sinceMs + awayMs };
    return [id, { ...member, ...later, waitingSinceMs: waitingSinceMs + awayMs }];
  });
  const { returning } = state;
  return {
    ...state,
    nowMs,
    members: new Map(members),
    returning: returning && { ...returning, sinceMs: returning.sinceMs + awayMs },
  };
}

/** Evicts whoever is overdue: an evicted worker may live on, and must not believe that it is in the run. */
export function evictOverdue(config: MembershipConfig, state: MembershipState): MembershipStep {
  const overdue = [silentOnes, stuckOnes, neverReadyOnes].flatMap((find) => find(config, state));
  return evict(config, state, overdue);
}

/** Their state is not the others', and neither is what they would compute with it. */
export function evictDiverged(
  config: MembershipConfig,
  state: MembershipState,
  { workerIds, why }: Extract<MembershipEvent, { type: 'diverged' }>,
): MembershipStep {
  const diverged = membersThat(state, 'training', 'finished').filter(({ workerId }) => workerIds.includes(workerId));
  return evict(
    config,
    state,
    diverged.map((member) => [member, { kind: 'diverged', why, detectedMs: 0 }]),
  );
}

/** Only where enough are left: a slow worker is better than a run that stands still. */
export function evictStraggler(
  config: MembershipConfig,
  state: MembershipState,
  { workerId, why }: Extract<MembershipEvent, { type: 'straggling' }>,
): MembershipStep {
  const isEnough = liveRoster(state).length > Math.max(1, config.minWorkers);
  if (!isEnough || config.isSharded || state.isStopping) return still(state);
  const slow = membersThat(state, 'training').filter((member) => member.workerId === workerId);
  return evict(
    config,
    state,
    slow.map((member) => [member, { kind: 'slow', why, detectedMs: 0 }]),
  );
}

function evict(config: MembershipConfig, state: MembershipState, losses: readonly Eviction[]): MembershipStep {
  return losses.reduce<MembershipStep>(
    (before, [member, loss]) =>
      andThen(before, (next) => {
        if (!next.members.has(member.workerId) || next.phase === 'failed') return still(next);
        return andThen({ state: next, effects: [eviction(next, member, loss)] }, (now) =>
          lose(config, now, member, loss),
        );
      }),
    { state, effects: [] },
  );
}

function eviction(state: MembershipState, member: Member, { kind, why }: Loss): MembershipEffect {
  const { workerId, pid } = member;
  const code = kind === 'diverged' ? 'ERR_STATE_DIVERGED' : 'ERR_WORKER_LOST';
  const error = new LockstepError(code, `${nameOf(state, member)} is out of the run: ${why}.`);
  return { type: 'evict', workerId, pid, error };
}

type Eviction = readonly [Member, Loss];

function silentOnes(config: MembershipConfig, state: MembershipState): Eviction[] {
  const { heartbeatTimeoutMs, loadingTimeoutMs } = config.patience;
  const isHeard = isSomebodyHeard(config, state);
  return [...state.members.values()].flatMap((member): Eviction[] => {
    const hasPart = isInRoster(state, member.workerId);
    const limitMs = hasPart ? heartbeatTimeoutMs : loadingTimeoutMs;
    const detectedMs = state.nowMs - member.lastSeenMs;
    const mayBeOurs = hasPart && member.isRemote && !isHeard;
    if (detectedMs <= limitMs || mayBeOurs) return [];
    const why = `it was silent for ${Math.round(detectedMs)} ms, longer than the limit of ${limitMs} ms`;
    return [[member, { kind: 'silent', why, detectedMs }]];
  });
}

/** Their comm threads beat, and they do not what others wait for. */
function stuckOnes(config: MembershipConfig, state: MembershipState): Eviction[] {
  const roster = liveRoster(state);
  const awaited = roster.flatMap((member) => {
    const owed = owedBy(config, state, member);
    return owed ? [{ member, ...owed }] : [];
  });
  const factor = awaited.length < roster.length ? 1 : togetherness;
  return awaited.flatMap(({ member, what, limitMs }) => hungFor(state, member, what, limitMs * factor));
}

/** What it has to do before the run goes on, and how long that may take; null: nobody waits for it. */
function owedBy(
  { patience }: MembershipConfig,
  state: MembershipState,
  member: Member,
): { readonly what: string; readonly limitMs: number } | null {
  const { phase } = state;
  if (phase === 'halting' && member.state === 'halting') {
    return { what: 'has not halted', limitMs: patience.connectTimeoutMs };
  }
  if (phase === 'connecting' && member.state === 'connecting') {
    // A worker that cannot reach another one says so after connectTimeoutMs, and which it is.
    return { what: 'has not connected', limitMs: patience.connectTimeoutMs + patience.heartbeatTimeoutMs };
  }
  if (phase !== 'training' || member.state !== 'training') return null;
  const slowMs = slowStepMs(state);
  if (member.stage === 'computing') {
    return { what: 'has computed one step', limitMs: Math.max(patience.stepTimeoutMs, slowMs) };
  }
  if (member.stage !== 'between') return null;
  return { what: 'has begun no step', limitMs: Math.max(patience.betweenStepsTimeoutMs, slowMs) };
}

/** So long a step takes at most, by those that were taken. */
function slowStepMs(state: MembershipState): number {
  return slownessAllowed * Math.max(0, ...liveRoster(state).map(slowestOf));
}

/** Whoever loads for ever keeps a place that another could have. */
function neverReadyOnes({ patience }: MembershipConfig, state: MembershipState): Eviction[] {
  return membersThat(state, 'loading').flatMap((member) =>
    hungFor(state, member, 'has not got ready', patience.readyTimeoutMs),
  );
}

function hungFor({ nowMs }: MembershipState, member: Member, what: string, allowedMs: number): Eviction[] {
  const detectedMs = nowMs - member.sinceMs;
  if (detectedMs <= allowedMs) return [];
  const words = member.waiting === null ? '' : `; it says: ${member.waiting}`;
  const why = `it beats, but ${what} for ${Math.round(detectedMs)} ms, longer than the limit of ${Math.round(allowedMs)} ms${words}`;
  return [[member, { kind: 'hung', why, detectedMs }]];
}

/** The time of the step that it has computed counts too: the first after a validation, say, is slow for all. */
function slowestOf({ stage, sinceMs, steppedMs, slowestMs }: Member): number {
  return stage === 'computing' || steppedMs === null ? slowestMs : Math.max(slowestMs, sinceMs - steppedMs);
}

/**
 * All have done their part of the step and wait for one another, and nothing gets on: a way between two of them is cut, while each
 * can reach the coordinator. They link anew, by which it shows who cannot reach whom.
 */
export function endStandstill(config: MembershipConfig, state: MembershipState): MembershipStep {
  const roster = liveRoster(state);
  if (state.phase !== 'training' || roster.length < 2) return still(state);
  const limitMs = Math.max(config.patience.stepTimeoutMs, slowStepMs(state));
  const stands = ({ stage, waitingSinceMs }: Member): boolean =>
    stage === 'reducing' && state.nowMs - waitingSinceMs > limitMs;
  if (!roster.every(stands)) return still(state);
  const words = roster.map(({ workerId, waiting }) => `${workerId} says "${waiting ?? ''}"`).join(', ');
  const text = `nothing has got on for ${Math.round(limitMs)} ms: ${words}. The workers connect to one another anew.`;
  return andThen({ state, effects: [{ type: 'warn', text }] }, (next) => beginMoves(config, next));
}

/** Too few workers, and nobody is on the way: the run makes do with those that it has, or ends. */
export function endWaiting(config: MembershipConfig, state: MembershipState): MembershipStep {
  if (state.phase !== 'gathering') return still({ ...state, shortSinceMs: null });
  const shortSinceMs = state.shortSinceMs ?? state.nowMs;
  const waiting = { ...state, shortSinceMs };
  const { workersTimeoutMs } = config.patience;
  // A run that stops starts no more workers.
  const isOver = state.noMoreWorkers !== null || state.isStopping || state.nowMs - shortSinceMs > workersTimeoutMs;
  if (!isOver || state.isSeeking || membersThat(state, 'loading').length > 0) return still(waiting);
  const numReady = membersThat(state, 'ready', 'halted').length;
  if (numReady >= config.minWorkers) return formWhenPossible(config, waiting, { isImpatient: true });
  const error = state.isStopping ? stoppedError(state) : tooFewError(config, waiting, numReady);
  return stopWithError(config, waiting, error);
}

function tooFewError(config: MembershipConfig, state: MembershipState, numReady: number): LockstepError {
  const { minWorkers, patience } = config;
  const numNeeded = state.hasStarted ? minWorkers : `${minWorkers} to ${state.numWanted}`;
  const why = state.noMoreWorkers ?? `none came for ${patience.workersTimeoutMs} ms`;
  const last = state.lastLoss === null ? '' : ` ${state.lastLoss.message}`;
  const message = `The run needs ${numNeeded} worker(s) and has ${numReady}: ${why}.${last}`;
  return new LockstepError('ERR_WORKER_LOST', message, {
    details: { ...state.lastLoss?.details, numReady, minWorkers },
  });
}
