/** The plan of a generation's all-reduce, from what all its workers know: either thread of a worker makes it for itself. */
import { planAllReduce, type AllReducePlan } from '../../src/collective/plan.js';
import type { Generation } from '../../src/protocol/messages.js';
import type { Layout } from '../../src/state/layout.js';
import type { RunSetup } from './channel.js';

export function planGeneration(
  setup: Pick<RunSetup, 'slots' | 'bucketBytes' | 'wire' | 'optimizer' | 'onNotFinite'> & {
    readonly generation: Generation;
    readonly rank: number;
    readonly layout: Layout;
  },
): AllReducePlan {
  const { generation, rank, slots, layout, bucketBytes, wire, optimizer } = setup;
  const workers = generation.workers.map(({ firstSlot, endSlot, addresses }) => {
    return { firstSlot, endSlot, hostId: addresses.hostId };
  });
  return planAllReduce({
    generation: generation.generation,
    rank,
    slots,
    workers,
    segments: layout.segments,
    bucketBytes,
    wire,
    sharded: optimizer.sharded,
    judgesWhole: judgesWhole(setup),
    sharesMemory: true,
  });
}

/** Whether a step depends on the whole gradient: on its norm, or on whether all of it is finite. */
export function judgesWhole({ optimizer, onNotFinite }: Pick<RunSetup, 'optimizer' | 'onNotFinite'>): boolean {
  return optimizer.clipNorm !== undefined || onNotFinite === 'skip';
}
