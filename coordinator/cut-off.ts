/**
 * A coordinator that hears nothing of anybody: its own host may be cut off from the network, and the workers, which go on without
 * it, look for it. To take them all for lost would throw away what they do. So it waits as one that was started again does; the
 * time that they have to come back begins when the first of them, or anybody else of another host, is heard. A run that has a worker on
 * this host too goes on with that one instead: it holds the state, and nobody can tell a network that is gone from hosts that are.
 */
import { idsOf, isSomebodyHeard, liveRoster, still } from './members.js';
import type { MembershipConfig, MembershipEvent, MembershipState, MembershipStep, Return } from './membership-state.js';

/** Begins the return of a coordinator from which all of the generation are cut off. */
export function noticeCutOff(config: MembershipConfig, state: MembershipState): MembershipStep {
  const { phase, nowMs, generation } = state;
  const live = liveRoster(state);
  const isMaking = phase === 'halting' || phase === 'connecting' || phase === 'training';
  const isSilent = live.every(
    ({ isRemote, lastSeenMs }) => isRemote && nowMs - lastSeenMs > config.patience.heartbeatTimeoutMs,
  );
  if (!isMaking || live.length === 0 || !isSilent || isSomebodyHeard(config, state)) return still(state);
  const workerIds = idsOf(live);
  const members = new Map([...state.members].filter(([workerId]) => !workerIds.includes(workerId)));
  const returning: Return = {
    cause: 'cut-off',
    isConnected: false,
    sinceMs: nowMs,
    awayMs: 0,
    entered: generation,
    awaited: workerIds,
  };
  return {
    state: { ...state, phase: 'returning', members, returning, stopAfter: null },
    effects: [{ type: 'forget', workerIds }],
  };
}

/** Somebody is heard, if the event says so. */
export function noLongerCutOff(state: MembershipState, event: MembershipEvent): MembershipState {
  const { returning, nowMs } = state;
  if (returning?.isConnected !== false || !isOfOtherHost(state, event)) return state;
  return { ...state, returning: { ...returning, isConnected: true, sinceMs: nowMs } };
}

function isOfOtherHost({ members }: MembershipState, event: MembershipEvent): boolean {
  if (event.type === 'hello') return event.isRemote;
  return event.type === 'heartbeat' && members.get(event.workerId)?.isRemote === true;
}
