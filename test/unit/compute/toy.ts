/** Small batches and models for the tests of worker/compute, and a slot run on them. */
import type { Tensor } from '@tensorflow/tfjs';
import type { Batch } from '../../../src/job/dataset.js';
import type { FunctionalModel } from '../../../src/job/job.js';
import type { Log } from '../../../src/log.js';
import { sizeOf } from '../../../src/state/parameter.js';
import { requireTfjs } from '../../../worker/compute/engine/tfjs.js';
import {
  TrainingStep,
  type BuildOptions,
  type Measurements,
  type SlotStep,
  type StepKey,
} from '../../../worker/compute/step.js';

export const tf = requireTfjs();

export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** Values without a pattern, the same in every run: fractional parts of multiples of the golden ratio, in [-1, 1). */
export function spread(length: number, offset = 0): Float32Array {
  return Float32Array.from({ length }, (_, index) => 2 * (((index + 1 + offset) * 0.618_033_988_75) % 1) - 1);
}

/** [rows, 6] inputs with labels 0, 1, 2. */
export function classBatch(rows = 8, offset = 0): Batch {
  return {
    x: { data: spread(rows * 6, offset), shape: [rows, 6] },
    y: { data: Int32Array.from({ length: rows }, (_, row) => (row + offset) % 3), shape: [rows] },
  };
}

/** [rows, 6] inputs with [rows, 2] targets. */
export function regressionBatch(rows = 8): Batch {
  return { x: classBatch(rows).x, y: { data: spread(rows * 2, 99), shape: [rows, 2] } };
}

/** 6-5-3 with ReLU and softmax, written without layers. */
export function functionalMlp(): FunctionalModel {
  return {
    parameters: {
      kernel1: tf.tensor2d(spread(30, 1), [6, 5]),
      bias1: tf.zeros([5]),
      kernel2: tf.tensor2d(spread(15, 2), [5, 3]),
      bias2: tf.zeros([3]),
    },
    forward: ({ kernel1, bias1, kernel2, bias2 }, x) => {
      const hidden = tf.relu(tf.add(tf.matMul(x, given(kernel1)), given(bias1)));
      return tf.softmax(tf.add(tf.matMul(hidden, given(kernel2)), given(bias2)));
    },
  };
}

export function given<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('The test expected a value');
  return value;
}

export async function build(options: Partial<BuildOptions> & Partial<BuildOptions['job']>): Promise<TrainingStep> {
  const { model = () => functionalMlp(), loss = 'sparseCategoricalCrossentropy', metrics = [] } = options;
  return TrainingStep.build({
    tf,
    seed: 7,
    log: silentLog,
    sample: classBatch(),
    job: { model, loss, metrics },
    ...options,
  });
}

export interface SlotResult extends Measurements {
  readonly gradients: readonly Float32Array[];
  readonly state: readonly Float32Array[];
}

export const firstKey: StepKey = { seed: 7, step: 0, slot: 0 };

/** One slot, with outputs that begin as NaN: what is not written shows. */
export function runSlot(step: SlotStep, batch: Batch, key: StepKey = firstKey): SlotResult {
  const written = step.parameters.filter(({ frozen }) => frozen !== true);
  const outputs = written.map(({ shape }) => new Float32Array(sizeOf(shape)).fill(NaN));
  const numTrainable = step.parameters.filter(({ trainable }) => trainable).length;
  const gradients = outputs.slice(0, numTrainable);
  const state = outputs.slice(numTrainable);
  return { ...step.gradient(batch, key, { gradients, state }), gradients, state };
}

/** Views on one SharedArrayBuffer that hold these values. */
export function sharedCopies(values: readonly Float32Array[]): Float32Array[] {
  const buffer = new SharedArrayBuffer(4 * values.reduce((size, { length }) => size + length, 0));
  let offset = 0;
  return values.map((array) => {
    const view = new Float32Array(buffer, offset, array.length);
    view.set(array);
    offset += array.byteLength;
    return view;
  });
}

export function readAll(tensors: readonly Tensor[]): Float32Array[] {
  return tensors.map((tensor) => tensor.dataSync<'float32'>().slice());
}

/** The largest difference of any two numbers in the same place. */
export function maxDifference(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  if (a.length !== b.length) return NaN;
  const differences = a.flatMap((values, index) =>
    [...values].map((value, at) => Math.abs(value - (b[index]?.[at] ?? NaN))),
  );
  return Math.max(...differences);
}
