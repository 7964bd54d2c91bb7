/**
 * The arrays of the flat state in one generation, all in the segments' shared memories:
 *
 *   parameters, moments   the state itself; the only ones that outlive a generation
 *   slot:S                the partial of each slot that this worker holds; left alone until the step is committed
 *   outbox:N              the sum of neighbouring own slots, for the peers
 *   inbox:N               what a peer sent of this worker's own chunks
 *   reduced               the sum over all slots
 *   scratch               one bucket for each level of the tree
 */
import type { AllReducePlan } from '../../src/collective/all-reduce.js';
import type { Bucket } from '../../src/collective/buckets.js';
import { depthOf, type TreeNode } from '../../src/collective/tree.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import { momentRegions } from '../../src/optimizer/optimizer.js';
import type { Layout } from '../../src/state/layout.js';
import { PARAMETERS, type RegionPlan } from '../../src/state/memory.js';

export const slotRegion = (slot: number): string => `slot:${slot}`;
export const outboxRegion = (node: TreeNode): string => `outbox:${node.id}`;
export const inboxRegion = (nodeId: number): string => `inbox:${nodeId}`;

export interface RegionOptions {
  readonly layout: Layout;
  readonly plan: AllReducePlan;
  readonly tree: TreeNode;
  /** Null: no moments. */
  readonly optimizer: OptimizerConfig | null;
}

export function planRegions({ layout, plan, tree, optimizer }: RegionOptions): RegionPlan[] {
  const whole = layout.segments.map(({ elements }) => elements);
  const reduced = layout.segments.map(({ reducedElements }) => reducedElements);
  const trainable = layout.segments.map(({ trainableElements }) => trainableElements);
  const own = plan.nodesByRank[plan.rank] ?? [];
  const remote = plan.nodesByRank.flatMap((nodes, rank) => (rank === plan.rank ? [] : nodes));
  const owned = layout.segments.map((_, segment) => ownedElements(plan, segment));
  const largest = layout.segments.map((_, segment) => depthOf(tree) * largestBucket(plan.buckets, segment));
  const slots = own.flatMap((node) => slotsOf(node));
  const outbox = remote.length > 0 ? own.filter(({ children }) => children) : [];
  return [
    { name: PARAMETERS, elements: whole },
    ...(optimizer ? momentRegions(optimizer) : []).map((name) => ({ name, elements: trainable })),
    { name: 'reduced', elements: reduced },
    ...slots.map((slot) => ({ name: slotRegion(slot), elements: reduced })),
    ...outbox.map((node) => ({ name: outboxRegion(node), elements: reduced })),
    ...remote.map((node) => ({ name: inboxRegion(node.id), elements: owned })),
    { name: 'scratch', elements: largest },
  ];
}

/** Where this rank's chunk of each bucket lies in an inbox, in elements from the inbox's start in its segment. */
export function inboxOffsets({ buckets, rank }: AllReducePlan): number[] {
  const filled = new Map<number, number>();
  return buckets.map(({ segment, chunks }) => {
    const offset = filled.get(segment) ?? 0;
    filled.set(segment, offset + (chunks[rank]?.elements ?? 0));
    return offset;
  });
}

export function largestBucket(buckets: readonly Bucket[], segment: number): number {
  return buckets.reduce((most, bucket) => (bucket.segment === segment ? Math.max(most, bucket.elements) : most), 0);
}

function ownedElements({ buckets, rank }: AllReducePlan, segment: number): number {
  return buckets.reduce((sum, b) => (b.segment === segment ? sum + (b.chunks[rank]?.elements ?? 0) : sum), 0);
}

function slotsOf({ firstSlot, endSlot }: TreeNode): number[] {
  return Array.from({ length: endSlot - firstSlot }, (_, i) => firstSlot + i);
}
