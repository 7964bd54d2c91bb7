/** For whom a step waits, and how much of it has come, in words. Worked out when somebody asks. */
import type { AllReduce, ChunkProgress } from './all-reduce.js';
import type { AllReducePlan, Chunk } from './plan.js';

/**
 * Why the machine's step is not committed: the first bucket that waits, and for whom. The words are others with each frame that
 * comes: who hears the same ones again and again takes the step for blocked (coordinator/patience.ts).
 */
export function waiting(plan: AllReducePlan, machine: AllReduce): string {
  const step = `Step ${machine.step} is not committed`;
  const { length } = plan.buckets;
  const index = machine.buckets.findIndex(
    ({ ready }, bucket) => !ready || openChunks(plan, machine, bucket).length > 0,
  );
  const missing = machine.squares?.missingRanks ?? [];
  if (index < 0 && missing.length === 0) return `${step}: ${machine.numUnsent} frames have not left`;
  const waits = index < 0 ? `the norm waits` : `bucket ${index} of ${length} waits`;
  return `${step}: ${waits} for ${awaitedOf(plan, machine, index)}; ${framesOf(plan, machine)}`;
}

function awaitedOf(plan: AllReducePlan, machine: AllReduce, index: number): string {
  if (machine.buckets[index]?.ready === false) return "this worker's own gradient";
  const open = openChunks(plan, machine, index);
  const late = open.flatMap(({ chunk, at }) => latePartials(chunk, at));
  if (late.length > 0) return `partials from rank ${inOrder(late)}`;
  const missing = machine.squares?.missingRanks ?? [];
  // Results are made of the norm.
  if (missing.length > 0) return `squares from rank ${inOrder(missing)}`;
  return `results from rank ${inOrder(open.flatMap(({ chunk }) => chunk.route.resultFrom ?? []))}`;
}

/** Chunks of a bucket that wait for partials or for a result: not those that are summed, and wait for the norm. */
function openChunks(
  plan: AllReducePlan,
  machine: AllReduce,
  index: number,
): { readonly chunk: Chunk; readonly at: ChunkProgress }[] {
  return (plan.buckets[index]?.chunks ?? []).flatMap((chunk) => {
    const at = machine.buckets[index]?.chunks[chunk.index];
    const isSummed = chunk.route.resultFrom === null && at?.summed === true;
    return at && !at.done && !isSummed ? [{ chunk, at }] : [];
  });
}

function latePartials({ route }: Chunk, { arrived }: ChunkProgress): number[] {
  return [...route.partialsFrom].flatMap(([node, rank]) => (arrived.has(node) ? [] : [rank]));
}

/** Of all buckets: the first one may wait while others come in. */
function framesOf(plan: AllReducePlan, machine: AllReduce): string {
  let [numHere, numAll] = machine.squares?.numFrames ?? [0, 0];
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
