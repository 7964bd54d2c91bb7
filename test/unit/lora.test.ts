import { describe, expect, it } from 'vitest';
import { mergeLora } from '../../src/state/lora.js';

const tensor = (shape: number[], ...values: number[]) => ({ shape, values: Float32Array.from(values) });

describe('mergeLora', () => {
  it('adds alpha / rank times A·B to each matrix, and leaves the rest', () => {
    const bias = tensor([3], 7, 8, 9);
    const weights = new Map([
      ['dense/kernel/lora_a', tensor([2, 2], 1, 2, 3, 4)],
      ['dense/kernel/lora_b', tensor([2, 3], 1, 0, 2, 0, 1, 1)],
      ['dense/bias', bias],
      ['dense/kernel', tensor([2, 3], 10, 20, 30, 40, 50, 60)],
    ]);
    // A·B = [[1, 2, 4], [3, 4, 10]], times 6 / 2.
    expect([...mergeLora(weights, { rank: 2, alpha: 6 })]).toEqual([
      ['dense/bias', bias],
      ['dense/kernel', tensor([2, 3], 13, 26, 42, 49, 62, 90)],
    ]);
    expect(weights.get('dense/kernel')).toEqual(tensor([2, 3], 10, 20, 30, 40, 50, 60));
  });

  it.each([
    { what: 'its matrix is not there', without: 'w', message: '"w" is not there' },
    { what: 'one of the two is not there', without: 'w/lora_b', message: '"w/lora_b" is not there, expected [1, 3]' },
  ])('refuses an adapter where $what', ({ without, message }) => {
    const weights = new Map(
      Object.entries({
        w: tensor([2, 3], 1, 2, 3, 4, 5, 6),
        'w/lora_a': tensor([2, 1], 1, 2),
        'w/lora_b': tensor([1, 3], 1, 2, 3),
      }).filter(([name]) => name !== without),
    );
    expect(() => mergeLora(weights, { rank: 1, alpha: 1 })).toThrow(message);
  });

  it('refuses adapters of another rank', () => {
    const weights = new Map([
      ['w', tensor([1, 1], 1)],
      ['w/lora_a', tensor([1, 2], 1, 2)],
      ['w/lora_b', tensor([2, 1], 1, 2)],
    ]);
    expect(() => mergeLora(weights, { rank: 1, alpha: 1 })).toThrow('"w/lora_a" is [1, 2], expected [1, 1]');
  });
});
