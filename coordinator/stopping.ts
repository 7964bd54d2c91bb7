/** How a run ends well: at its last step, or after a Ctrl-C at one that all workers agree on. */
import { LockstepError } from '../src/errors.js';
import { fail, idsOf, isInRoster, liveRoster, membersThat, still, updateMember } from './members.js';
import type { MembershipConfig, MembershipEvent, MembershipState, MembershipStep } from './membership-state.js';
import { finish, formWhenPossible } from './moves.js';

/** Ctrl-C: every worker holds after the step that it has begun; the run stops after the furthest of them. */
export function onStop(config: MembershipConfig, state: MembershipState): MembershipStep {
  if (state.isStopping) return still(state);
  const stopping = { ...state, isStopping: true };
  if (state.phase === 'training') {
    return { state: stopping, effects: [{ type: 'drain', workerIds: idsOf(liveRoster(state)) }] };
  }
  if (state.hasStarted && state.phase !== 'gathering') return still(stopping); // once they go on
  return isServed(state) ? formWhenPossible(config, stopping) : fail(stopping, stoppedError(state));
}

/** Too few workers are left, and those have the state: they take it to a checkpoint, as after a Ctrl-C, and the run fails. */
export function stopWithError(config: MembershipConfig, state: MembershipState, ending: LockstepError): MembershipStep {
  if (state.isStopping || !isHeld(state)) return fail(state, state.ending ?? ending);
  return formWhenPossible(config, { ...state, isStopping: true, ending });
}

/** Whether a worker that waits could take a run that has started to its end, from the newest checkpoint if need be. */
function isServed(state: MembershipState): boolean {
  return state.hasStarted && membersThat(state, 'halted', 'ready').length > 0;
}

/** Whether a worker that waits for others holds the state whole. */
function isHeld(state: MembershipState): boolean {
  return membersThat(state, 'halted').some(({ heldStep }) => heldStep !== null);
}

/** There is no worker that could take it to a good end. */
export function stoppedError({ hasStarted }: MembershipState): LockstepError {
  const when = hasStarted ? 'while it waited for workers' : 'before its first step';
  return new LockstepError('ERR_INTERRUPTED', `The run was stopped ${when}.`);
}

export function onDraining(
  before: MembershipState,
  { workerId, step: begun }: Extract<MembershipEvent, { type: 'draining' }>,
): MembershipStep {
  const { phase, isStopping, nowMs } = before;
  const isAwaited = phase === 'training' && isStopping && before.members.get(workerId)?.state === 'training';
  if (!isAwaited) return still(updateMember(before, workerId, { lastSeenMs: nowMs }));
  return agreeOnStop(updateMember(before, workerId, { state: 'holding', step: begun, lastSeenMs: nowMs }));
}

/** With every worker holding, or done, the furthest step that one has begun is the last. */
function agreeOnStop(state: MembershipState): MembershipStep {
  const roster = liveRoster(state);
  const isUndecided = state.isStopping && state.stopAfter === null;
  if (!isUndecided || roster.some((member) => member.state === 'training')) return still(state);
  const stopAfter = Math.max(...roster.map((member) => member.step));
  const effect = { type: 'stop-after', step: stopAfter, workerIds: idsOf(roster) } as const;
  return { state: { ...state, stopAfter }, effects: [effect] };
}

export function onFinished(
  before: MembershipState,
  { workerId, step: committed, weightsSha256 }: Extract<MembershipEvent, { type: 'finished' }>,
): MembershipStep {
  const { phase, nowMs } = before;
  const seen = updateMember(before, workerId, { lastSeenMs: nowMs });
  const isMeant = phase === 'training' || phase === 'returning';
  if (!isMeant || !isInRoster(before, workerId)) return still(seen); // it will say it again
  const done = { state: 'finished', step: committed, weightsSha256, stage: null } as const;
  const state = { ...updateMember(seen, workerId, done), isAtEnd: true };
  const roster = liveRoster(state);
  const other = roster.find((member) => member.weightsSha256 !== null && member.weightsSha256 !== weightsSha256);
  if (other) {
    const message = `After step ${committed} worker ${workerId} has weights ${weightsSha256} and worker ${other.workerId} has ${other.weightsSha256 ?? ''}.`;
    return fail(state, new LockstepError('ERR_INTERNAL', `${message} This is a bug in Lockstep; please report it.`));
  }
  if (phase === 'returning') return still(state);
  return roster.every((member) => member.state === 'finished') ? finish(state) : agreeOnStop(state);
}
