/** What the collective is held to: the naive sum along the tree, slot by slot, of made-up gradients. */
import type { TreeNode } from '../../src/collective/tree.js';
import { packBfloat16, unpackBfloat16 } from '../../src/kernels/reference.js';

/** Values whose sum depends on the order of additions. */
export function gradient(step: number, slot: number, segment: number, i: number): number {
  const mixed =
    Math.imul((step + 1) * 73_856_093, 1) ^ ((slot + 1) * 19_349_663) ^ ((segment + 1) * 83_492_791) ^ (i * 2_654_435);
  return Math.fround(((mixed >>> 0) % 100_003) * 10 ** (((slot * 5 + i) % 9) - 6));
}

export function naiveSum(node: TreeNode, leaf: (slot: number) => number): number {
  if (!node.children) return leaf(node.firstSlot);
  return Math.fround(naiveSum(node.children[0], leaf) + naiveSum(node.children[1], leaf));
}

export function nearestBfloat16(value: number): number {
  return unpackBfloat16(packBfloat16(Float32Array.of(value)))[0] ?? NaN;
}
