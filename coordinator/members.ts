/** Who is in a run, asked and changed without a decision. */
import { LockstepError } from '../src/errors.js';
import type { Member, MembershipConfig, MembershipState, MembershipStep, WorkerState } from './membership-state.js';

/** Members of the last generation that was formed, as far as they are still there, by rank. */
export function liveRoster({ roster, members }: MembershipState): Member[] {
  return roster.flatMap(({ workerId }) => members.get(workerId) ?? []);
}

export function isInRoster({ roster }: MembershipState, workerId: string): boolean {
  return roster.some((entry) => entry.workerId === workerId);
}

export function membersThat(state: MembershipState, ...states: readonly WorkerState[]): Member[] {
  return [...state.members.values()].filter((member) => states.includes(member.state));
}

export function idsOf(members: readonly { readonly workerId: string }[]): string[] {
  return members.map(({ workerId }) => workerId);
}

/**
 * Whether the silence of workers of other hosts is theirs: one of another host was heard while they were not, or one of this host
 * with which the run goes on. One of this host that has no part in the run tells nothing of the network.
 */
export function isSomebodyHeard({ patience }: MembershipConfig, state: MembershipState): boolean {
  const { members, nowMs } = state;
  return [...members.values()].some(({ workerId, isRemote, lastSeenMs }) => {
    return nowMs - lastSeenMs <= patience.heartbeatTimeoutMs / 2 && (isRemote || isInRoster(state, workerId));
  });
}

/** One that has said hello. */
export function newMember(who: Pick<Member, 'workerId' | 'host' | 'pid' | 'isRemote'>, nowMs: number): Member {
  return {
    ...who,
    state: 'loading',
    step: 0,
    heldStep: null,
    waiting: null,
    stage: null,
    prefersMemory: false,
    lastSeenMs: nowMs,
    sinceMs: nowMs,
    waitingSinceMs: nowMs,
    steppedMs: null,
    slowestMs: 0,
    device: '',
    addresses: null,
    weightsSha256: null,
  };
}

export function updateMember(state: MembershipState, workerId: string, changes: Partial<Member>): MembershipState {
  const member = state.members.get(workerId);
  if (!member) throw new LockstepError('ERR_PROTOCOL', `Worker ${workerId} spoke before it said hello.`);
  return { ...state, members: new Map([...state.members, [workerId, { ...member, ...changes }]]) };
}

/** All of the roster that are there; others stay as they are. */
export function updateRoster(state: MembershipState, changes: Partial<Member>): MembershipState {
  return liveRoster(state).reduce((next, { workerId }) => updateMember(next, workerId, changes), state);
}

export function withoutMember(state: MembershipState, workerId: string): MembershipState {
  return { ...state, members: new Map([...state.members].filter(([id]) => id !== workerId)) };
}

/** "Worker w1 (rank 1, pid 17 on host-a)" */
export function nameOf(state: MembershipState, { workerId, host, pid }: Member): string {
  const rank = state.roster.find((entry) => entry.workerId === workerId)?.rank;
  return `Worker ${workerId} (${rank === undefined ? '' : `rank ${rank}, `}pid ${pid} on ${host})`;
}

/** Nothing to do. */
export function still(state: MembershipState): MembershipStep {
  return { state, effects: [] };
}

export function fail(state: MembershipState, error: LockstepError): MembershipStep {
  return { state: { ...state, phase: 'failed' }, effects: [{ type: 'fail', error }] };
}

/** One step after the other, with the effects of both. */
export function andThen(before: MembershipStep, next: (state: MembershipState) => MembershipStep): MembershipStep {
  const { state, effects } = next(before.state);
  return { state, effects: [...before.effects, ...effects] };
}
