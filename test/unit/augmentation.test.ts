import { describe, expect, it } from 'vitest';
import type { Augment, Batch, Dataset } from '../../src/job/dataset.js';
import { Augmentation } from '../../worker/augmentation.js';

/** Row `r` is [r, 10 + r] with the label r. */
function rows(...indices: readonly number[]): Batch {
  const x = Float32Array.from(indices.flatMap((row) => [row, 10 + row]));
  return {
    x: { data: x, shape: [indices.length, 2] },
    y: { data: Int32Array.from(indices), shape: [indices.length, 1] },
  };
}

const data: Dataset = { length: 8, read: (indices) => rows(...Array.from(indices)), describe: (row) => `line ${row}` };

function augmentation(augment: Augment, seed = 1): Augmentation {
  return new Augmentation({ augment, data, seed });
}

/** What each row's stream begins with. */
const draw: Augment = (_, random) => ({ x: Float32Array.of(random(), random()) });

const drawn = (indices: readonly number[], epoch = 0, seed = 1): number[] =>
  Array.from(augmentation(draw, seed).apply(rows(...indices), indices, epoch).x.data);

describe('a row as it is trained on', () => {
  it('follows from its number, whatever is read with it', () => {
    const [first, second] = [drawn([3]), drawn([5])];
    expect(drawn([5, 2, 3])).toEqual([...second, ...drawn([2]), ...first]);
    expect(first).not.toEqual(second);
  });

  it('is another one in each epoch, and with each seed', () => {
    const all = [drawn([3], 0), drawn([3], 1), drawn([3], 0, 2)].map(String);
    expect(new Set(all).size).toBe(3);
  });

  it('keeps what the function leaves out, and the shapes of the data', () => {
    const changed = augmentation(({ x }) => ({ x: Array.from(x, (value) => value * 2) })).apply(rows(1, 2), [1, 2], 0);
    expect(changed.x).toEqual({ data: Float32Array.of(2, 22, 4, 24), shape: [2, 2] });
    expect(changed.y).toEqual({ data: Int32Array.of(1, 2), shape: [2, 1] });
  });

  it('may be changed in place, and leaves the data as it is', () => {
    const batch = rows(1, 2);
    const changed = augmentation((row) => {
      row.x[0] = 100;
      return row;
    }).apply(batch, [1, 2], 0);
    expect(changed.x.data).toEqual(Float32Array.of(100, 11, 100, 12));
    expect(batch.x.data).toEqual(Float32Array.of(1, 11, 2, 12));
  });

  it('is drawn from one stream, whichever way', () => {
    const both = augmentation((_, random) => ({ x: Float32Array.of(Math.random(), random()) }));
    expect(Array.from(both.apply(rows(3), [3], 0).x.data)).toEqual(drawn([3]));
  });

  it.each([
    ['fewer numbers', (() => ({ x: 1 })) satisfies Augment, /^line 6: the augment function's x: found 1 numbers/],
    ['another type', (() => ({ y: 1 })) satisfies Augment, /^line 6: .*'s y: found 1 numbers in a Float32Array, exp/],
    ['NaN', (() => ({ x: [0, NaN] })) satisfies Augment, /^line 6: the augment function's x\[1\]: found NaN/],
  ])('is refused with %s, and named', (_, augment, says) => {
    expect(() => augmentation(augment).apply(rows(6), [6], 0)).toThrow(says);
  });

  it('is named where the function throws', () => {
    const throws = augmentation(() => {
      throw new Error('too dark');
    });
    expect(() => throws.apply(rows(4), [4], 0)).toThrow(/^line 4: the augment function failed: too dark\./);
  });
});
