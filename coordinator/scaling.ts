/** How many workers the run wants, changed while it goes on. Slots are fixed, so the bits stay the same. */
import { LockstepError } from '../src/errors.js';
import { andThen, isInRoster } from './members.js';
import type { Member, MembershipConfig, MembershipState, MembershipStep } from './membership-state.js';
import { formWhenPossible, letGo } from './moves.js';

/** Why the run cannot have so many workers now; null: it can. */
export function refuseScale(
  config: MembershipConfig & { readonly maxWorkers: number },
  state: MembershipState,
  numWorkers: number,
): LockstepError | null {
  const { slots, minWorkers, maxWorkers } = config;
  const usage = (message: string): LockstepError => {
    return new LockstepError('ERR_USAGE', `The run cannot have ${numWorkers} worker(s): ${message}`);
  };
  if (numWorkers > slots) {
    const next = `Start a run with --set slots=${numWorkers}, or scale to ${slots} at most.`;
    return usage(`it has ${slots} slot(s), fixed when it began, and each worker needs one. ${next}`);
  }
  if (numWorkers < minWorkers) return usage(`it was started with --min-workers ${minWorkers}.`);
  if (numWorkers > maxWorkers) return usage(`it was started with --max-workers ${maxWorkers}.`);
  if (config.isSharded && state.hasStarted) {
    return usage('its optimizer is sharded, so that its workers stay the same from the first step on.');
  }
  const isEnding = state.isStopping || [...state.members.values()].some((member) => member.state === 'finished');
  return isEnding || state.phase === 'finished' || state.phase === 'failed' ? usage('it is about to end.') : null;
}

/** Up: there is a place for newcomers. Down: the last ranks leave, whoever still loads before them. */
export function onScale(config: MembershipConfig, before: MembershipState, numWanted: number): MembershipStep {
  const why = `by wish: the run was scaled to ${numWanted} worker(s)`;
  const scaled: MembershipStep = { state: { ...before, numWanted }, effects: [] };
  const left = surplusOf(scaled.state).reduce(
    (step, member) => andThen(step, (next) => letGo(config, next, member, { kind: 'left', why, detectedMs: 0 })),
    scaled,
  );
  return andThen(left, (next) => formWhenPossible(config, next));
}

function surplusOf(state: MembershipState): Member[] {
  const { members, numWanted, roster } = state;
  const seated = roster.flatMap(({ workerId }) => members.get(workerId) ?? []);
  const others = [...members.values()].filter(({ workerId }) => !isInRoster(state, workerId));
  return [...seated, ...others].slice(numWanted).reverse();
}
