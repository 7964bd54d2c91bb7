/** Why the run does not train, in words for whoever waits. */
import { liveRoster, membersThat, idsOf } from './members.js';
import type { MembershipConfig, MembershipState, WorkerState } from './membership-state.js';

/** Null while it trains. */
export function waitingFor(config: MembershipConfig, state: MembershipState): string | null {
  const named = (wanted: WorkerState): string => idsOf(membersThat(state, wanted)).join(', ');
  switch (state.phase) {
    case 'returning':
      if (state.returning?.isConnected === false)
        return 'Nothing is heard of any worker: this host may be cut off from the network, and they may go on';
      return `The coordinator is back; not heard of yet: ${state.returning?.awaited.join(', ') ?? ''}`;
    case 'gathering': {
      if (state.isSeeking) return 'No worker has the state any more: the newest whole checkpoint is looked for';
      const numReady = membersThat(state, 'ready', 'halted').length;
      const numNeeded = state.hasStarted ? config.minWorkers : state.numWanted;
      const loading = named('loading');
      const detail = loading ? `; still loading: ${loading}` : '';
      const what = state.hasStarted ? 'No worker trains' : 'No generation yet';
      return `${what}: ${numReady} of ${numNeeded} workers are ready${detail}`;
    }
    case 'halting':
      return `Generation ${state.generation} is being made; not halted yet: ${named('halting')}`;
    case 'connecting':
      return `Generation ${state.generation} has not started; not connected to all peers yet: ${named('connecting')}`;
    case 'training':
      return state.isStopping ? `The run stops: waiting for ${trainingOf(state) || 'the last step'}` : null;
    default:
      return null;
  }
}

function trainingOf(state: MembershipState): string {
  return idsOf(liveRoster(state).filter((member) => member.state === 'training')).join(', ');
}
