/** The models of test/golden/keras, and what Keras computes with them. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { LayersModel } from '@tensorflow/tfjs';
import { z } from 'zod';
import { requireTfjs } from '../../worker/compute/engine/tfjs.js';

export const goldenFolder = fileURLToPath(new URL('../golden/keras', import.meta.url));

const numbers = z.array(z.number());
const expected = z
  .object({
    models: z.record(
      z.string(),
      z.object({
        x: z.object({ shape: z.array(z.int()), dtype: z.enum(['float32', 'int32']), values: numbers }),
        y: z.object({ shape: z.array(z.int()), values: numbers }),
      }),
    ),
  })
  .parse(JSON.parse(readFileSync(`${goldenFolder}/expected.json`, 'utf8')));

export const goldenNames = Object.keys(expected.models);

export function goldenOf(name: string) {
  const golden = expected.models[name];
  if (!golden) throw new Error(`test/golden/keras has no ${name}`);
  return golden;
}

/** The most by which an output of the model differs from Keras's; Infinity for another shape. */
export function differenceFromKeras(model: LayersModel, name: string): number {
  const { x, y } = goldenOf(name);
  const { shape, values } = outputOf(model, x);
  if (String(shape) !== String(y.shape)) return Infinity;
  return largestDifference(values, y.values);
}

/** What the model computes, without training. */
export function outputOf(model: LayersModel, x: ReturnType<typeof goldenOf>['x']) {
  const tf = requireTfjs();
  return tf.tidy(() => {
    const output = model.apply(tf.tensor(x.values, x.shape, x.dtype), { training: false });
    if (!(output instanceof tf.Tensor)) throw new Error('The model gave no tensor');
    return { shape: output.shape, values: [...output.dataSync()] as number[] };
  });
}

export function largestDifference(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (found.length !== expected.length) return Infinity;
  return Array.from(found, (value, at) => Math.abs(value - (expected[at] ?? NaN))).reduce(
    (most, difference) => (difference <= most ? most : difference), // NaN stays
    0,
  );
}

/** The bytes of all weights, by the model's names. */
export function weightsOf(model: LayersModel): Map<string, string> {
  return new Map(
    model.weights.map((weight) => {
      const { buffer, byteOffset, byteLength } = weight.read().dataSync<'float32'>();
      return [weight.originalName, Buffer.from(buffer, byteOffset, byteLength).toString('hex')] as const;
    }),
  );
}
