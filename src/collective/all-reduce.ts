/**
 * The direct all-reduce and the commit rule as a state machine, with no memory and no socket in it. Rank `j` owns chunk
 * `j` of each bucket: everyone sends it their partials of that chunk, it sums them along the tree and sends the result to
 * all. Whoever holds all reduced chunks of a bucket applies the optimizer to it; with all buckets applied the step is
 * committed.
 *
 * Live workers differ by at most one step, so a partial may be one step early. It cannot overwrite one still needed: its
 * sender has committed our step, hence has our reduced chunk, hence we have summed.
 */
import { LockstepError } from '../errors.js';
import type { Bucket } from './buckets.js';
import type { TreeNode } from './tree.js';

/** What does not change within a generation. */
export interface AllReducePlan {
  readonly generation: number;
  readonly rank: number;
  readonly buckets: readonly Bucket[];
  /** The tree nodes whose partials each rank sends, by rank. */
  readonly nodesByRank: readonly (readonly TreeNode[])[];
}

interface BucketProgress {
  /** Our own slots' gradients are in shared memory. */
  readonly ready: boolean;
  /** Tree nodes of our chunk that have come. */
  readonly partials: ReadonlySet<number>;
  /** Partials of the next step that have come already. */
  readonly earlyPartials: ReadonlySet<number>;
  readonly summed: boolean;
  /** Ranks whose reduced chunk is here; our own counts once summed. */
  readonly reduced: ReadonlySet<number>;
  readonly applied: boolean;
}

export interface AllReduceState {
  /** The step that is not committed yet. */
  readonly step: number;
  readonly buckets: readonly BucketProgress[];
}

export type AllReduceEvent =
  | { readonly type: 'ready'; readonly step: number; readonly bucket: number }
  | {
      readonly type: 'partial';
      readonly from: number;
      readonly step: number;
      readonly bucket: number;
      readonly node: number;
    }
  | { readonly type: 'reduced'; readonly from: number; readonly step: number; readonly bucket: number };

export type AllReduceEffect =
  | { readonly type: 'send-partial'; readonly to: number; readonly bucket: number; readonly node: TreeNode }
  | { readonly type: 'sum'; readonly bucket: number }
  | { readonly type: 'send-reduced'; readonly to: number; readonly bucket: number }
  | { readonly type: 'apply'; readonly bucket: number }
  | { readonly type: 'commit'; readonly step: number };

export interface AllReduceTransition {
  readonly state: AllReduceState;
  /** To be carried out in order. */
  readonly effects: readonly AllReduceEffect[];
  /** Why the step is not committed yet; null when the event committed it. */
  readonly reason: string | null;
}

const none: ReadonlySet<number> = new Set();
const fresh: BucketProgress = {
  ready: false,
  partials: none,
  earlyPartials: none,
  summed: false,
  reduced: none,
  applied: false,
};

/** The state before `step`, with nothing sent or received. */
export function beginAllReduce(plan: AllReducePlan, step: number): AllReduceState {
  return { step, buckets: plan.buckets.map(() => fresh) };
}

/**
 * What one event does.
 *
 * @throws LockstepError ERR_PROTOCOL where a peer sends what it cannot have: a wrong step, node or rank, or twice
 */
export function allReduce(plan: AllReducePlan, state: AllReduceState, event: AllReduceEvent): AllReduceTransition {
  switch (event.type) {
    case 'ready':
      return onReady(plan, state, event.step, event.bucket);
    case 'partial':
      return onPartial(plan, state, event);
    case 'reduced':
      return onReduced(plan, state, event);
  }
}

function onReady(plan: AllReducePlan, state: AllReduceState, step: number, bucket: number): AllReduceTransition {
  const progress = progressOf(state, bucket);
  if (step !== state.step || progress.ready) refuse(plan, state, `bucket ${bucket} was made ready for step ${step}`);
  const sends = peersInOrder(plan)
    .filter((to) => chunkElements(plan, bucket, to) > 0)
    .flatMap((to) => ownNodes(plan).map((node) => ({ type: 'send-partial', to, bucket, node }) as const));
  return advance(plan, update(state, bucket, { ...progress, ready: true }), bucket, sends);
}

function onPartial(
  plan: AllReducePlan,
  state: AllReduceState,
  event: Extract<AllReduceEvent, { type: 'partial' }>,
): AllReduceTransition {
  const { from, step, bucket, node } = event;
  const progress = progressOf(state, bucket);
  const expected = plan.nodesByRank[from]?.some(({ id }) => id === node);
  if (!expected || from === plan.rank) refuse(plan, state, `rank ${from} sent a partial of tree node ${node}`);
  if (step === state.step + 1) {
    if (!progress.summed) refuse(plan, state, `rank ${from} sent a partial of step ${step} without our chunk`);
    const earlyPartials = withNew(progress.earlyPartials, node, () => describe(plan, state, from));
    return { state: update(state, bucket, { ...progress, earlyPartials }), effects: [], reason: waiting(plan, state) };
  }
  if (step !== state.step) refuse(plan, state, `rank ${from} sent a partial of step ${step}`);
  const partials = withNew(progress.partials, node, () => describe(plan, state, from));
  return advance(plan, update(state, bucket, { ...progress, partials }), bucket, []);
}

function onReduced(
  plan: AllReducePlan,
  state: AllReduceState,
  event: Extract<AllReduceEvent, { type: 'reduced' }>,
): AllReduceTransition {
  const { from, step, bucket } = event;
  const progress = progressOf(state, bucket);
  if (step !== state.step || !progress.ready) refuse(plan, state, `rank ${from} sent a reduced chunk of step ${step}`);
  if (from === plan.rank || chunkElements(plan, bucket, from) === 0) {
    refuse(plan, state, `rank ${from} sent a chunk of bucket ${bucket} that it does not own`);
  }
  const reduced = withNew(progress.reduced, from, () => describe(plan, state, from));
  return advance(plan, update(state, bucket, { ...progress, reduced }), bucket, []);
}

/** Carries a bucket as far as what has arrived allows: sum, apply, and the commit with the last bucket. */
function advance(
  plan: AllReducePlan,
  before: AllReduceState,
  bucket: number,
  sends: readonly AllReduceEffect[],
): AllReduceTransition {
  const effects = [...sends];
  let progress = progressOf(before, bucket);
  if (!progress.summed && progress.ready && progress.partials.size === numRemoteNodes(plan, bucket)) {
    const owned = chunkElements(plan, bucket, plan.rank) > 0;
    progress = {
      ...progress,
      summed: true,
      reduced: owned ? new Set([...progress.reduced, plan.rank]) : progress.reduced,
    };
    if (owned) {
      effects.push({ type: 'sum', bucket });
      effects.push(...peersInOrder(plan).map((to) => ({ type: 'send-reduced', to, bucket }) as const));
    }
  }
  if (!progress.applied && progress.summed && progress.reduced.size === numOwners(plan, bucket)) {
    progress = { ...progress, applied: true };
    effects.push({ type: 'apply', bucket });
  }
  const state = update(before, bucket, progress);
  if (!state.buckets.every(({ applied }) => applied)) return { state, effects, reason: waiting(plan, state) };
  effects.push({ type: 'commit', step: state.step });
  return { state: nextStep(state), effects, reason: null };
}

function nextStep(state: AllReduceState): AllReduceState {
  const buckets = state.buckets.map(({ earlyPartials }) => ({ ...fresh, partials: earlyPartials }));
  return { step: state.step + 1, buckets };
}

/** Why the current step is not committed: the first bucket that waits, and for whom. */
export function waiting(plan: AllReducePlan, state: AllReduceState): string | null {
  const index = state.buckets.findIndex(({ applied }) => !applied);
  const progress = state.buckets[index];
  if (!progress) return null;
  const bucket = `Step ${state.step} is not committed: bucket ${index} of ${state.buckets.length}`;
  if (!progress.ready) return `${bucket} waits for this worker's own gradient`;
  const late = plan.nodesByRank.flatMap((nodes, rank) =>
    rank !== plan.rank && nodes.some(({ id }) => !progress.partials.has(id)) ? [rank] : [],
  );
  if (!progress.summed) return `${bucket} waits for partials from rank ${late.join(', ')}`;
  const owners = plan.nodesByRank.flatMap((_, rank) =>
    chunkElements(plan, index, rank) > 0 && !progress.reduced.has(rank) ? [rank] : [],
  );
  return `${bucket} waits for reduced chunks from rank ${owners.join(', ')}`;
}

/** The other ranks, the next one first: so that not all send to the same rank at once. */
function peersInOrder(plan: AllReducePlan): number[] {
  const worldSize = plan.nodesByRank.length;
  return Array.from({ length: worldSize - 1 }, (_, i) => (plan.rank + 1 + i) % worldSize);
}

function ownNodes(plan: AllReducePlan): readonly TreeNode[] {
  return plan.nodesByRank[plan.rank] ?? [];
}

function chunkElements(plan: AllReducePlan, bucket: number, rank: number): number {
  return plan.buckets[bucket]?.chunks[rank]?.elements ?? 0;
}

function numRemoteNodes(plan: AllReducePlan, bucket: number): number {
  if (chunkElements(plan, bucket, plan.rank) === 0) return 0;
  return plan.nodesByRank.reduce((sum, nodes, rank) => (rank === plan.rank ? sum : sum + nodes.length), 0);
}

function numOwners(plan: AllReducePlan, bucket: number): number {
  return plan.buckets[bucket]?.chunks.filter(({ elements }) => elements > 0).length ?? 0;
}

function progressOf(state: AllReduceState, bucket: number): BucketProgress {
  const progress = state.buckets[bucket];
  if (progress) return progress;
  throw new LockstepError('ERR_PROTOCOL', `Bucket ${bucket} was named; there are ${state.buckets.length}.`);
}

function update(state: AllReduceState, bucket: number, progress: BucketProgress): AllReduceState {
  return { ...state, buckets: state.buckets.with(bucket, progress) };
}

function withNew(seen: ReadonlySet<number>, value: number, who: () => string): ReadonlySet<number> {
  if (seen.has(value)) throw new LockstepError('ERR_PROTOCOL', `${who()}: part ${value} came twice.`);
  return new Set([...seen, value]);
}

function describe(plan: AllReducePlan, state: AllReduceState, from: number): string {
  return `All-reduce of generation ${plan.generation}, step ${state.step}, rank ${plan.rank}, from rank ${from}`;
}

function refuse(plan: AllReducePlan, state: AllReduceState, found: string): never {
  throw new LockstepError(
    'ERR_PROTOCOL',
    `${found}, which rank ${plan.rank} cannot take at step ${state.step} of generation ${plan.generation}.`,
  );
}
