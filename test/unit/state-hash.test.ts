import { expect, test } from 'vitest';
import { adam } from '../../src/optimizer/config.js';
import { planLayout } from '../../src/state/layout.js';
import { FlatMemory } from '../../src/state/memory.js';
import { stateHash } from '../../src/state/state-hash.js';

const parameters = [
  { name: 'kernel', shape: [30, 3], trainable: true },
  { name: 'mean', shape: [5], trainable: false },
  { name: 'bias', shape: [3], trainable: true },
];
const regions = ['parameters', 'moment1', 'moment2'];

function createMemory(maxSegmentElements?: number): FlatMemory {
  const layout = planLayout(parameters, 1, maxSegmentElements === undefined ? {} : { maxSegmentElements });
  const elements = layout.segments.map((segment) => segment.elements);
  const memory = FlatMemory.create(
    layout,
    [...regions, 'average'].map((name) => ({ name, elements })),
  );
  let next = 1;
  for (const region of regions) {
    for (const parameter of layout.parameters) {
      memory.parameterView(region, parameter).forEach((_, i, all) => (all[i] = Math.sin(next++)));
    }
  }
  return memory;
}

test('another bit of any parameter or moment makes another hash, and says in which of them', () => {
  const memory = createMemory();
  const whole = stateHash(memory, adam());
  for (const [at, region] of regions.entries()) {
    for (const parameter of memory.layout.parameters.filter((one) => region === 'parameters' || one.trainable)) {
      const view = memory.parameterView(region, parameter);
      const bits = new Uint32Array(view.buffer, view.byteOffset, view.length);
      const last = view.length - 1;
      bits[last] = (bits[last] ?? 0) ^ 1;
      const flipped = stateHash(memory, adam()).split(', ');
      expect(flipped.map((hash, i) => hash !== whole.split(', ')[i])).toEqual(regions.map((_, i) => i === at));
      bits[last] = (bits[last] ?? 0) ^ 1;
    }
  }
  expect(stateHash(memory, adam())).toBe(whole);
});

test('it depends neither on gaps, scalars and segments, nor on the moments of a sharded optimizer', () => {
  const [memory, cut] = [createMemory(), createMemory(96)];
  expect(cut.layout.segments.length).toBeGreaterThan(1);
  const whole = stateHash(memory, adam());
  expect(stateHash(cut, adam())).toBe(whole);
  const { segment, offset } = memory.layout.scalars;
  memory.view('parameters', segment)[offset] = 7;
  expect(stateHash(memory, adam())).toBe(whole);
  const sharded = stateHash(memory, adam({ sharded: true }));
  memory.view('moment1', 0).fill(3);
  expect(stateHash(memory, adam({ sharded: true }))).toBe(sharded);
});

test('it depends on the moving average of the weights, sharded or not', () => {
  for (const isSharded of [false, true]) {
    const optimizer = adam({ sharded: isSharded, averageDecay: 0.9 });
    const memory = createMemory();
    const before = stateHash(memory, optimizer);
    memory.view('average', 0).fill(3);
    expect(stateHash(memory, optimizer)).not.toBe(before);
  }
});
