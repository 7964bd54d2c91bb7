/** For whom a step waits, and how much of it has come, in words. Worked out when somebody asks. */
import type { AllReduce, ChunkProgress } from './all-reduce.js';
import type { AllReducePlan, Chunk } from './plan.js';

/**
 * Why the machine's step is not committed: the first bucket that waits, and for whom. The words are others with each frame that
 * comes: who hears the same ones again and again takes the step for blocked (coordinator/patience.ts).
 */
export function waiting(plan: AllReducePlan, machine: AllReduce): string {
  const step = `Step ${machine.step} is not committed`;
  const index = machine.buckets.findIndex(({ ready, chunks }) => !ready || chunks.some(({ done }) => !done));
  if (index < 0) return `${step}: ${machine.numUnsent} frames have not left`;
  const bucket = `bucket ${index} of ${plan.buckets.length}`;
  return `${step}: ${bucket} waits for ${awaitedOf(plan, machine, index)}; ${framesOf(plan, machine)}`;
}

function awaitedOf(plan: AllReducePlan, machine: AllReduce, index: number): string {
  const progress = machine.buckets[index];
  if (!progress?.ready) return "this worker's own gradient";
  const open = (plan.buckets[index]?.chunks ?? []).flatMap((chunk) => {
    const at = progress.chunks[chunk.index];
    return at && !at.done ? [{ chunk, at }] : [];
  });
  const late = open.flatMap(({ chunk, at }) => latePartials(chunk, at));
  if (late.length > 0) return `partials from rank ${inOrder(late)}`;
  return `results from rank ${inOrder(open.flatMap(({ chunk }) => chunk.route.resultFrom ?? []))}`;
}

function latePartials({ route }: Chunk, { arrived }: ChunkProgress): number[] {
  return [...route.partialsFrom].flatMap(([node, rank]) => (arrived.has(node) ? [] : [rank]));
}

/** Of all buckets: the first one may wait while others come in. */
function framesOf(plan: AllReducePlan, machine: AllReduce): string {
  let [numHere, numAll] = [0, 0];
  for (const [index, { chunks }] of plan.buckets.entries()) {
    for (const chunk of chunks) {
      const { partialsFrom, resultFrom } = chunk.route;
      const numResults = resultFrom === null ? 0 : 1;
      const progress = machine.buckets[index]?.chunks[chunk.index];
      numAll += partialsFrom.size + numResults;
      numHere += (progress?.arrived.size ?? 0) + (progress?.done === true ? numResults : 0);
    }
  }
  return `${numHere} of ${numAll} frames are here`;
}

function inOrder(ranks: readonly number[]): string {
  return [...new Set(ranks)].toSorted((a, b) => a - b).join(', ');
}
