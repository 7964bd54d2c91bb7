/** For whom a step waits, in words. Worked out when somebody asks. */
import type { AllReduce, ChunkProgress } from './all-reduce.js';
import type { AllReducePlan, Chunk } from './plan.js';

/** Why the machine's step is not committed: the first bucket that waits, and for whom. */
export function waiting(plan: AllReducePlan, machine: AllReduce): string {
  const step = `Step ${machine.step} is not committed`;
  const index = machine.buckets.findIndex(({ ready, chunks }) => !ready || chunks.some(({ done }) => !done));
  const progress = machine.buckets[index];
  const chunks = plan.buckets[index]?.chunks ?? [];
  if (!progress) return `${step}: ${machine.numUnsent} frames have not left`;
  const bucket = `${step}: bucket ${index} of ${plan.buckets.length} waits for`;
  if (!progress.ready) return `${bucket} this worker's own gradient`;
  const open = chunks.flatMap((chunk) => {
    const at = progress.chunks[chunk.index];
    return at && !at.done ? [{ chunk, at }] : [];
  });
  const late = open.flatMap(({ chunk, at }) => latePartials(chunk, at));
  if (late.length > 0) return `${bucket} partials from rank ${listed(late)}`;
  return `${bucket} results from rank ${listed(open.flatMap(({ chunk }) => chunk.route.resultFrom ?? []))}`;
}

function latePartials({ route }: Chunk, { arrived }: ChunkProgress): number[] {
  return [...route.partialsFrom].flatMap(([node, rank]) => (arrived.has(node) ? [] : [rank]));
}

function listed(ranks: readonly number[]): string {
  return [...new Set(ranks)].toSorted((a, b) => a - b).join(', ');
}
