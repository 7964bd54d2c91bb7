/**
 * The coordinator's return: it knows the last generation from its journal, or from the workers where its disk is lost, and
 * they say hello with what they stand in. If all are there, in one generation, it goes on as it is: nothing halts, and no step
 * is lost. Whoever does not come in time is lost, and that is dealt with by the moves, as any loss. What was in the midst of the
 * moves begins them anew. Docs: docs/decisions/0018-the-coordinators-return.md.
 */
import { LockstepError } from '../src/errors.js';
import { listed } from '../src/listed.js';
import { compareFacts } from '../src/protocol/facts.js';
import type { Standing } from '../src/protocol/messages.js';
import {
  andThen,
  idsOf,
  isInRoster,
  liveRoster,
  newMember,
  still,
  updateMember,
  updateRoster,
  withoutMember,
} from './members.js';
import type {
  Change,
  Member,
  MembershipConfig,
  MembershipEvent,
  MembershipState,
  MembershipStep,
  Past,
  Return,
} from './membership-state.js';
import { beginMoves, finish, isWanted, recoveriesOf, withoutAwaited } from './moves.js';

export function beginReturn(
  state: MembershipState,
  { generation, roster }: Pick<Past, 'generation' | 'roster'>,
): MembershipState {
  if (roster.length === 0) return { ...state, generation };
  const returning = { ...beginning(state), entered: generation, awaited: idsOf(roster) };
  return { ...state, phase: 'returning', generation, roster, hasStarted: true, returning, shortSinceMs: null };
}

function beginning({ nowMs }: MembershipState): Pick<Return, 'cause' | 'isConnected' | 'sinceMs' | 'awayMs'> {
  return { cause: 'start', isConnected: true, sinceMs: nowMs, awayMs: 0 };
}

type HelloAgain = Extract<MembershipEvent, { type: 'hello' }> & { readonly standing: Standing };

/** From a worker that has been in a generation. */
export function onHelloAgain(config: MembershipConfig, before: MembershipState, hello: HelloAgain): MembershipStep {
  const { workerId, standing } = hello;
  const refusal = refuseAgain(config, before, hello);
  if (refusal) return { state: before, effects: [{ type: 'refuse', workerId, error: refusal }] };
  if (before.members.has(workerId)) return onSecondConnection(config, before, hello);
  return andThen(withoutSurplus(learn(begunBy(before, standing), standing)), (state) => {
    if (!isInRoster(state, workerId))
      return { state, effects: [{ type: 'refuse', workerId, error: goneOn(workerId) }] };
    return { state: comeBack(state, hello), effects: [{ type: 'welcome', workerId }] };
  });
}

/** Whether it has been in the run: one that has entered no generation, and was to enter none, is like one that begins. */
export function isBack({ members, returning }: MembershipState, workerId: string, { generation }: Standing): boolean {
  return generation > 0 || members.has(workerId) || returning?.awaited.includes(workerId) === true;
}

/** Whether a worker has heard of a newer coordinator of the run than this one. */
export function isOvertaken(config: MembershipConfig, state: MembershipState, { runId, term }: Standing): boolean {
  const isKnown = (config.past !== null && runId === config.runId) || !knowsNothing(config, state);
  return runId === state.runId && term > state.term && isKnown;
}

/** It is no worker's word that it has begun with, or is to begin with: its disk is lost, or this is another run. */
function knowsNothing(
  { past, checkpoint }: MembershipConfig,
  { phase, hasStarted, generation, returning }: MembershipState,
): boolean {
  // The one before this may have found its disk lost, and died before a worker came.
  const hadGeneration = past !== null && past.generation > 0;
  if (hadGeneration || checkpoint !== null || returning?.cause === 'cut-off') return false;
  return phase === 'returning' || (phase === 'gathering' && !hasStarted && generation === 0);
}

function refuseAgain(
  config: MembershipConfig,
  state: MembershipState,
  { workerId, standing }: HelloAgain,
): LockstepError | null {
  const isFirst = knowsNothing(config, state) && state.phase === 'gathering';
  if (!isFirst && standing.runId !== state.runId) return foreignError(state, workerId, standing);
  if (isFirst) {
    const differences = compareFacts(state.facts, standing.facts);
    if (differences.length === 0) return state.members.has(workerId) ? goneOn(workerId) : null;
    const message = `Worker ${workerId} is in a run of another job: ${listed(differences, 5)}.`;
    return new LockstepError('ERR_WORKER_MISMATCH', message, { details: { workerId, differences } });
  }
  const isMember = state.members.has(workerId) && standing.term === state.term;
  return isMember || state.phase === 'returning' ? null : goneOn(workerId);
}

export function foreignError(state: MembershipState, workerId: string, { runId }: Standing): LockstepError {
  const message = `Worker ${workerId} is in another run, ${runId}; this coordinator has run ${state.runId}.`;
  return new LockstepError('ERR_PROTOCOL', message);
}

function goneOn(workerId: string): LockstepError {
  return new LockstepError('ERR_WORKER_LOST', `Worker ${workerId} is out of the run, which has gone on without it.`);
}

/** A coordinator that was stopped, or cut off, for so long that another one has its run. */
export function yieldTo(state: MembershipState, { term }: Standing): MembershipStep {
  const message = `Another coordinator has this run: its term is ${term}, this one's ${state.term}. This one ends; the run goes on.`;
  const error = new LockstepError('ERR_COORDINATOR_REPLACED', message);
  return { state: { ...state, phase: 'failed', returning: null }, effects: [{ type: 'yield', error }] };
}

/** The coordinator that it heard last is this one: what was said on the connection before may not have arrived. */
function onSecondConnection(
  config: MembershipConfig,
  before: MembershipState,
  { workerId, standing }: HelloAgain,
): MembershipStep {
  const welcomed: MembershipStep = {
    state: updateMember(before, workerId, { lastSeenMs: before.nowMs }),
    effects: [{ type: 'welcome', workerId }],
  };
  const { phase, isStopping, generation } = before;
  const isUndisturbed = phase === 'training' && !isStopping && standing.isTraining && standing.entered === generation;
  if (isUndisturbed || phase === 'returning' || !isInRoster(before, workerId)) return welcomed;
  return andThen(welcomed, (state) => beginMoves(config, state));
}

/** The first worker that says so makes a coordinator whose disk is lost that of its run. */
function begunBy(state: MembershipState, standing: Standing): MembershipState {
  const term = Math.max(state.term, standing.term + 1);
  if (state.returning?.cause === 'cut-off') return state;
  if (state.returning) return { ...state, term: state.term > standing.term ? state.term : term };
  const { runId } = standing;
  const begun = beginReturn({ ...state, runId, term }, { generation: standing.entered, roster: standing.workers });
  const returning = begun.returning ?? { ...beginning(state), entered: 0, awaited: [] };
  return { ...begun, phase: 'returning', hasStarted: true, returning };
}

/** Workers that have come to a coordinator which knew nothing yet, and for which there is no place beside those of the run. */
function withoutSurplus(before: MembershipState): MembershipStep {
  const newcomers = [...before.members.keys()].filter((workerId) => !isInRoster(before, workerId));
  const numPlaces = Math.max(0, before.numWanted - before.roster.length);
  return newcomers.slice(numPlaces).reduce<MembershipStep>(({ state, effects }, workerId) => {
    return {
      state: withoutMember(state, workerId),
      effects: [...effects, { type: 'refuse', workerId, error: goneOn(workerId) }],
    };
  }, still(before));
}

/** What is newer than what was known: the generation that the next one is above, and the last roster. */
function learn(state: MembershipState, { generation, entered, workers, awayMs }: Standing): MembershipState {
  const { returning, nowMs } = state;
  if (!returning) return state;
  const away = Math.max(returning.awayMs, awayMs - (nowMs - returning.sinceMs));
  const known = {
    ...state,
    generation: Math.max(state.generation, generation),
    returning: { ...returning, awayMs: away },
  };
  if (entered <= returning.entered) return known;
  const awaited = idsOf(workers).filter((workerId) => !state.members.has(workerId));
  const renewed = { ...known, roster: workers, returning: { ...known.returning, entered, awaited } };
  return updateRoster(renewed, { state: 'connecting' }); // in an older one
}

function comeBack(state: MembershipState, { workerId, host, pid, isRemote, standing }: HelloAgain): MembershipState {
  const { returning, roster, nowMs } = state;
  const goesOn = standing.isTraining && standing.entered === returning?.entered;
  const member: Member = {
    ...newMember({ workerId, host, pid, isRemote }, nowMs),
    state: goesOn ? 'training' : 'connecting',
    step: standing.step,
    steppedMs: nowMs,
    addresses: roster.find((entry) => entry.workerId === workerId)?.addresses ?? null,
  };
  return { ...state, members: new Map([...state.members, [workerId, member]]) };
}

/** With it comes what a coordinator has to know of a worker: now it is there. */
export function onReadyAgain(
  before: MembershipState,
  { workerId, device, addresses, facts }: Extract<MembershipEvent, { type: 'ready' }>,
): MembershipState {
  const known = { device, addresses, lastSeenMs: before.nowMs };
  const state = updateMember({ ...before, facts: { ...facts, ...before.facts } }, workerId, known);
  return noLongerAwaited(state, workerId);
}

/** A worker that was expected, and whose process is known to be gone. */
export function loseAwaited(state: MembershipState, workerId: string, why: string): MembershipState {
  if (!state.returning?.awaited.includes(workerId)) return state;
  return noLongerAwaited({ ...state, changes: [...state.changes, absence(state, workerId, why)] }, workerId);
}

function noLongerAwaited(state: MembershipState, workerId: string): MembershipState {
  const { returning } = state;
  return returning ? { ...state, returning: withoutAwaited(returning, workerId) } : state;
}

function absence({ nowMs }: MembershipState, workerId: string, why: string): Change {
  return { kind: 'lost', workerId, pid: null, why, detectedMs: 0, atMs: nowMs };
}

const causes = { start: 'it was started again', 'cut-off': 'it was cut off from all workers' } as const;

/** All are there, or known to be lost, or the time is over. */
export function endReturn(config: MembershipConfig, before: MembershipState): MembershipStep {
  const { returning, nowMs } = before;
  if (before.phase !== 'returning' || !returning) return still(before);
  const { returnTimeoutMs, workersTimeoutMs } = config.patience;
  const limitMs = returning.isConnected ? returnTimeoutMs : workersTimeoutMs;
  if (returning.awaited.length > 0 && nowMs - returning.sinceMs <= limitMs) return still(before);
  const why = `it did not come back within ${limitMs} ms`;
  const missing = returning.awaited.filter((workerId) => !before.members.has(workerId));
  const absences = missing.map((workerId) => absence(before, workerId, why));
  const { cause, awayMs: detectedMs, sinceMs: atMs } = returning;
  const back: Change = { kind: 'coordinator', workerId: null, pid: null, why: causes[cause], detectedMs, atMs };
  const state = { ...before, returning: null, changes: [back, ...before.changes, ...absences] };
  return goOn(config, state, returning.entered);
}

function goOn(config: MembershipConfig, state: MembershipState, entered: number): MembershipStep {
  const roster = liveRoster(state);
  const isWhole = roster.length > 0 && roster.length === state.roster.length;
  const isAsItWas = isWhole && state.generation === entered && roster.every(goesOn);
  return isAsItWas && !isWanted(config, state) ? adopt(state) : beginMoves(config, state);
}

function goesOn({ state }: Member): boolean {
  return state === 'training' || state === 'finished';
}

function adopt(before: MembershipState): MembershipStep {
  const workerIds = idsOf(liveRoster(before));
  const step = Math.max(...liveRoster(before).map((member) => member.step));
  const recoveries = recoveriesOf(before).map((recovery) => ({ ...recovery, step }));
  const state: MembershipState = { ...before, phase: 'training', changes: [], movedSlots: 0, hasStarted: true };
  const adopted: MembershipStep = {
    state,
    effects: [
      { type: 'adopt', step, workerIds, recoveries },
      ...(state.isStopping ? [{ type: 'drain', workerIds } as const] : []),
    ],
  };
  const isDone = liveRoster(state).every((member) => member.state === 'finished');
  return isDone ? andThen(adopted, finish) : adopted;
}
