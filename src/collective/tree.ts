/**
 * The one binary tree over the slots along which partials are summed. Its shape depends on the number of slots alone, so
 * the sum has the same bits whoever holds which slot. Floating-point addition is commutative but not associative: the
 * tree fixes the association.
 */
import { assert } from '../errors.js';

/** A run of neighbouring slots whose partials are summed together. */
export interface TreeNode {
  /** Position as in a binary heap: the root is 1, the children of `i` are `2i` and `2i + 1`. */
  readonly id: number;
  readonly firstSlot: number;
  /** One past the last slot. */
  readonly endSlot: number;
  readonly children: readonly [TreeNode, TreeNode] | null;
}

/** The tree over `numSlots` slots; each node splits its slots in halves, the larger half first. */
export function reductionTree(numSlots: number): TreeNode {
  assert(Number.isInteger(numSlots) && numSlots > 0, `a tree over ${numSlots} slots was asked for`);
  return subtree(1, 0, numSlots);
}

function subtree(id: number, firstSlot: number, endSlot: number): TreeNode {
  if (endSlot - firstSlot === 1) return { id, firstSlot, endSlot, children: null };
  const middle = firstSlot + Math.ceil((endSlot - firstSlot) / 2);
  const children = [subtree(2 * id, firstSlot, middle), subtree(2 * id + 1, middle, endSlot)] as const;
  return { id, firstSlot, endSlot, children };
}

/** The fewest nodes that together hold exactly the slots `firstSlot` to `endSlot` - 1, in slot order. */
export function coveringNodes(tree: TreeNode, firstSlot: number, endSlot: number): TreeNode[] {
  if (endSlot <= tree.firstSlot || tree.endSlot <= firstSlot) return [];
  if (firstSlot <= tree.firstSlot && tree.endSlot <= endSlot) return [tree];
  assert(tree.children, 'a leaf is either inside a range of slots or outside it');
  return tree.children.flatMap((child) => coveringNodes(child, firstSlot, endSlot));
}

/** Levels of additions below this node: 0 for a leaf. */
export function depthOf(node: TreeNode): number {
  return node.children ? 1 + Math.max(depthOf(node.children[0]), depthOf(node.children[1])) : 0;
}

/** The most that the fewest nodes for a run of slots weigh together, over all runs but the whole tree's. */
export function heaviestCover(tree: TreeNode, weightOf: (node: TreeNode) => number): number {
  return covers(tree, weightOf).part;
}

/** What the nodes weigh that hold all slots of a node, and at most those for some of its first, of its last, of any. */
interface Covers {
  readonly whole: number;
  readonly prefix: number;
  readonly suffix: number;
  readonly part: number;
}

function covers(node: TreeNode, weightOf: (node: TreeNode) => number): Covers {
  const whole = weightOf(node);
  if (!node.children) return { whole, prefix: 0, suffix: 0, part: 0 };
  const [first, second] = [covers(node.children[0], weightOf), covers(node.children[1], weightOf)];
  const prefix = Math.max(first.prefix, first.whole + second.prefix);
  const suffix = Math.max(second.suffix, second.whole + first.suffix);
  return {
    whole,
    prefix,
    suffix,
    part: Math.max(prefix, suffix, first.part, second.part, first.suffix + second.prefix),
  };
}
