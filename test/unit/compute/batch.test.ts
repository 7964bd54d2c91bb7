import { describe, expect, it } from 'vitest';
import type { Batch, Column } from '../../../src/job/dataset.js';
import { checkBatch, checkLabels, inputTensor, labelTensor } from '../../../worker/compute/batch.js';
import { classBatch, spread, tf } from './toy.js';

function labelled(data: Column['data'], shape: readonly number[] = [data.length]): Batch {
  return { x: { data: spread(data.length), shape: [data.length, 1] }, y: { data, shape } };
}

describe('checkLabels', () => {
  it('accepts every class', () => {
    expect(() => checkLabels(labelled(Int32Array.of(0, 1, 2)), 3)).not.toThrow();
    expect(() => checkLabels(labelled(Uint8Array.of(0, 1, 2)), 3)).not.toThrow();
    expect(() => checkLabels(labelled(Float32Array.of(0, 1, 2)), 3)).not.toThrow();
  });

  it.each([[Int32Array.of(0, 3)], [Int32Array.of(0, -1)], [Float32Array.of(0, 0.5)], [Float32Array.of(0, NaN)]])(
    'refuses the second of %o',
    (labels) => {
      expect(() => checkLabels(labelled(labels), 3)).toThrow(
        expect.objectContaining({
          code: 'ERR_LABEL_OUT_OF_RANGE',
          details: { label: labels[1], numClasses: 3, rowInBatch: 1 },
        }),
      );
    },
  );

  it('finds the row of a label in rows of many labels', () => {
    const labels = Int32Array.of(0, 0, 0, 0, 9, 0);
    expect(() => checkLabels(labelled(labels, [3, 2]), 3)).toThrow(
      expect.objectContaining({ details: { label: 9, numClasses: 3, rowInBatch: 2 } }),
    );
  });
});

describe('checkBatch', () => {
  it('accepts a batch whose columns agree', () => {
    expect(() => checkBatch(classBatch())).not.toThrow();
  });

  it.each<[string, Batch]>([
    ['different numbers of rows', { x: classBatch(4).x, y: classBatch(3).y }],
    ['fewer values than its shape says', { x: { data: spread(5), shape: [1, 6] }, y: classBatch(1).y }],
    ['no rows', { x: { data: spread(0), shape: [0, 6] }, y: { data: spread(0), shape: [0] } }],
    ['no dimension of rows', { x: { data: spread(1), shape: [] }, y: classBatch(1).y }],
  ])('refuses %s', (_, batch) => {
    expect(() => checkBatch(batch)).toThrow(expect.objectContaining({ code: 'ERR_DATA_INVALID' }));
  });
});

describe('a column as a tensor', () => {
  it.each([
    { data: Float32Array.of(1, 2), input: 'float32', label: 'float32' },
    { data: Int32Array.of(1, 2), input: 'int32', label: 'int32' },
    { data: Uint8Array.of(1, 2), input: 'float32', label: 'int32' },
  ])('of $data.constructor.name is $input as an input and $label as a label', ({ data, input, label }) => {
    tf.tidy(() => {
      const asInput = inputTensor(tf, { data, shape: [2, 1] });
      const asLabel = labelTensor(tf, { data, shape: [2, 1] });
      expect([asInput.dtype, asLabel.dtype]).toEqual([input, label]);
      expect([...asInput.dataSync(), ...asLabel.dataSync()]).toEqual([1, 2, 1, 2]);
    });
  });

  it('has at least two dimensions', () => {
    tf.tidy(() => {
      expect(inputTensor(tf, { data: spread(3), shape: [3] }).shape).toEqual([3, 1]);
    });
  });
});
