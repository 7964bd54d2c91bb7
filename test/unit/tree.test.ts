import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { coveringNodes, depthOf, reductionTree, type TreeNode } from '../../src/collective/tree.js';
import { sumTree } from '../../src/collective/tree-sum.js';

function leaves(node: TreeNode): number[] {
  return node.children ? node.children.flatMap(leaves) : [node.firstSlot];
}

describe('the reduction tree', () => {
  it('has every slot once, in order, for any number of slots', () => {
    for (let slots = 1; slots <= 64; slots++) {
      expect(leaves(reductionTree(slots))).toEqual(Array.from({ length: slots }, (_, slot) => slot));
    }
  });

  it('gives the larger half to the first child', () => {
    const [left, right] = reductionTree(5).children ?? [];
    expect([left?.firstSlot, left?.endSlot, right?.firstSlot, right?.endSlot]).toEqual([0, 3, 3, 5]);
  });

  it('is as deep as a balanced tree', () => {
    expect([1, 2, 3, 4, 5, 8, 9].map((slots) => depthOf(reductionTree(slots)))).toEqual([0, 1, 2, 2, 3, 3, 4]);
  });

  it('covers any range of slots exactly, with no two nodes that make up a third', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.nat(), fc.nat(), (slots, a, b) => {
        const [first = 0, end = 0] = [a % (slots + 1), b % (slots + 1)].toSorted((x, y) => x - y);
        const nodes = coveringNodes(reductionTree(slots), first, end);
        expect(nodes.flatMap(leaves)).toEqual(Array.from({ length: end - first }, (_, i) => first + i));
        const ids = new Set(nodes.map(({ id }) => id));
        for (const id of ids) expect(ids.has(id ^ 1)).toBe(false);
      }),
    );
  });
});

describe('sumTree', () => {
  /** Writes sums as text, so that the association shows. */
  function associationOf(slots: number, present: (node: TreeNode) => boolean): string {
    const cells = new Map<number, string>();
    const address = (node: TreeNode): number => 1000 + node.id;
    const fill = (node: TreeNode): string => {
      const text = node.children ? `(${fill(node.children[0])}+${fill(node.children[1])})` : String(node.firstSlot);
      cells.set(address(node), text);
      return text;
    };
    const root = reductionTree(slots);
    fill(root);
    const sum = sumTree(root, {
      addressOf: (node) => (present(node) ? address(node) : undefined),
      destination: 1,
      scratch: (index) => 100 + index,
      numElements: 1,
      add: (destination, left, right) =>
        cells.set(destination, `(${cells.get(left) ?? '?'}+${cells.get(right) ?? '?'})`),
    });
    return cells.get(sum) ?? '';
  }

  it('associates the slots as the tree does, whichever subtrees are summed already', () => {
    const fromLeaves = associationOf(7, (node) => node.children === null);
    expect(fromLeaves).toBe('(((0+1)+(2+3))+((4+5)+6))');
    expect(associationOf(7, (node) => node.id === 2 || node.children === null)).toBe(fromLeaves);
    expect(associationOf(7, (node) => node.id === 5 || node.id === 3 || node.children === null)).toBe(fromLeaves);
  });

  it('returns a partial that is the whole sum in place', () => {
    expect(associationOf(1, () => true)).toBe('0');
  });

  it('refuses to leave out a slot', () => {
    expect(() => associationOf(4, (node) => node.children === null && node.firstSlot !== 2)).toThrow(
      'slot 2 is missing',
    );
  });
});
