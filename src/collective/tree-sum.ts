/** Sums the partials below a tree node with the `add` kernel, writing nothing but the destination and the scratch. */
import { assert } from '../errors.js';
import type { TreeNode } from './tree.js';

export interface TreeSumOptions {
  /**
   * Byte address of a node's partial where there is one, or undefined: then its children are summed. A partial that is not
   * float32 yet may be written to `spare`.
   */
  readonly addressOf: (node: TreeNode, spare: number) => number | undefined;
  /** Byte address of the result. It may be that of a partial: it is written last. */
  readonly destination: number;
  /** Byte address of scratch area `index`, of `numElements` floats. There are two for each level of the tree. */
  readonly scratch: (index: number) => number;
  readonly numElements: number;
  readonly add: (destination: number, left: number, right: number, numElements: number) => void;
}

/**
 * The sum over `node`, by address. It lies at `destination`, except where the node has a partial of its own: that one is
 * returned in place.
 */
export function sumTree(node: TreeNode, options: TreeSumOptions): number {
  return sumInto(node, options.destination, 0, options);
}

function sumInto(node: TreeNode, destination: number, level: number, options: TreeSumOptions): number {
  const present = options.addressOf(node, destination);
  if (present !== undefined) return present;
  assert(node.children, `the partial of slot ${node.firstSlot} is missing`);
  const left = sumInto(node.children[0], options.scratch(2 * level), level + 1, options);
  const right = sumInto(node.children[1], options.scratch(2 * level + 1), level + 1, options);
  options.add(destination, left, right, options.numElements);
  return destination;
}
