/** Records of passes as plain data: what of them a graph needs, and where two differ. */
import { describe, expect, test } from 'vitest';
import {
  firstDifference,
  mergeConstants,
  prune,
  type Constant,
  type Endpoint,
  type Op,
  type PassRecord,
  type Placeholder,
} from '../../../worker/compute/compiled/record.js';

const float32 = 1;
const at = (node: number): Endpoint => ({ node, output: 0, dtype: float32 });
const inputs: Placeholder = { kind: 'placeholder', role: 'inputs', index: 0, dtype: float32, shape: [1] };
const constant = (...bytes: number[]): Constant => ({
  kind: 'constant',
  dtype: float32,
  shape: [],
  bytes: Uint8Array.from(bytes),
});
const op = (name: string, ...of: number[]): Op => ({ kind: 'op', name, attributes: [], inputs: of.map(at) });

const record: PassRecord = {
  nodes: [inputs, constant(1, 2, 3, 4), constant(1, 2, 3, 4), op('Add', 0, 1), op('Unused', 3), op('Mul', 3, 2)],
  outputs: [at(5), null],
};

describe('prune', () => {
  test('leaves out what no output needs, and keeps the order', () => {
    expect(prune(record)).toEqual({
      nodes: [inputs, constant(1, 2, 3, 4), constant(1, 2, 3, 4), op('Add', 0, 1), op('Mul', 3, 2)],
      outputs: [at(4), null],
    });
  });
});

describe('mergeConstants', () => {
  test('makes equal constants one', () => {
    expect(mergeConstants(record)).toEqual({
      nodes: [inputs, constant(1, 2, 3, 4), op('Add', 0, 1), op('Mul', 2, 1)],
      outputs: [at(3), null],
    });
  });

  test('keeps constants of other values, shapes or types apart', () => {
    const [one, two] = [constant(1, 2, 3, 4), constant(1, 2, 3, 5)];
    const nodes = [one, two, { ...one, shape: [1] }, { ...one, dtype: 3 }, op('AddN', 0, 1, 2, 3)];
    expect(mergeConstants({ nodes, outputs: [at(4)] }).nodes).toHaveLength(5);
  });
});

describe('firstDifference', () => {
  const changed = (index: number, node: Op | Constant): PassRecord => ({
    ...record,
    nodes: record.nodes.map((old, place) => (place === index ? node : old)),
  });

  test('finds none between a record and its copy', () => {
    expect(firstDifference(record, structuredClone(record))).toBeNull();
  });

  test.each([
    ['a constant', changed(1, constant(1, 2, 3, 5)), 'a constant of the op Add differs from one pass to the next'],
    ['an op', changed(5, op('Sub', 3, 2)), 'the op Mul in one pass is the op Sub in the next'],
    ['an input of an op', changed(5, op('Mul', 2, 3)), 'the op Mul in one pass is the op Mul in the next'],
    [
      'the number of nodes',
      { ...record, nodes: [...record.nodes, op('Neg', 5)] },
      'one pass runs 6 ops and constants, the next 7',
    ],
    ['an output', { ...record, outputs: [at(3), null] }, 'two passes give different outputs'],
  ])('names %s', (_, other, sentence) => {
    expect(firstDifference(record, other)).toBe(sentence);
  });
});
