/** A run in one picture, as `lockstep status` shows it. */
import type { Status } from '../src/protocol/messages.js';
import type { LoadedJob } from '../src/job/loaded-job.js';
import type { MembershipState } from './membership-state.js';
import type { RunRecord } from './run-record.js';
import type { StragglerWatch } from './straggler-watch.js';

export function describeStatus(
  { loaded }: { readonly loaded: LoadedJob },
  state: MembershipState,
  record: RunRecord | null,
  reason: string | null,
  stragglers: StragglerWatch,
): Status {
  const roster = new Map(state.roster.map((entry) => [entry.workerId, entry]));
  return {
    type: 'status',
    runId: state.runId,
    name: loaded.job.name,
    state: state.phase === 'training' && state.isStopping ? 'draining' : state.phase,
    step: record?.numSteps ?? 0,
    totalSteps: record?.shape.schedule.totalSteps ?? null,
    epoch: record?.shape.schedule.epochsAfter(record.numSteps) ?? 0,
    generation: state.generation,
    loss: record?.last?.loss ?? null,
    checkpoint: record?.checkpoint?.path ?? null,
    reason,
    workers: [...state.members.values()].map(({ workerId, host, pid, device, step, state: doing, waiting }) => {
      const entry = roster.get(workerId);
      const straggler = stragglers.of(workerId);
      return {
        workerId,
        rank: entry?.rank ?? null,
        host,
        pid,
        device,
        slots: entry ? [entry.firstSlot, entry.endSlot] : null,
        step,
        state: doing,
        waiting,
        straggler: straggler && { factor: straggler.factor, phase: straggler.phase },
      };
    }),
  };
}
