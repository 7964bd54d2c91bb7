/** Runs of the command with compiled steps: the weights are those of eager steps, for any number of workers. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findCurrent } from '../../worker/compute/engine/cache.js';

const root = resolve(import.meta.dirname, '../..');

const job = `
import { adam, defineJob, tf } from 'lockstep';
const [rows, size] = [48, 8];
const values = (length, offset) => Float32Array.from({ length }, (_, i) => 2 * (((i + 1 + offset) * 0.61803398875) % 1) - 1);
export default defineJob({
  name: 'compiled',
  model: () => tf.sequential({ layers: [
    tf.layers.dense({ inputShape: [size], units: 12, activation: 'relu' }),
    tf.layers.batchNormalization(),
    tf.layers.dropout({ rate: 0.3 }),
    tf.layers.dense({ units: 3, activation: 'softmax' }),
  ] }),
  loss: 'sparseCategoricalCrossentropy',
  metrics: ['accuracy'],
  data: { train: { length: rows, read: (indices) => ({
    x: { data: Float32Array.from([...indices].flatMap((row) => [...values(size, row * size)])), shape: [indices.length, size] },
    y: { data: Int32Array.from(indices, (row) => row % 3), shape: [indices.length] },
  }) } },
  optimizer: adam({ learningRate: 1e-2 }),
  batchSize: 16,
  epochs: 2,
});
`;

interface Summary {
  readonly ok: boolean;
  readonly error: unknown;
  readonly compiled: boolean;
  readonly weightsSha256: string;
}

describe.skipIf(!findCurrent().found)('lockstep train', () => {
  let folder: string;

  beforeAll(async () => {
    // Inside of the package, so that the job file's 'lockstep' is this one.
    await mkdir(join(root, 'runs'), { recursive: true });
    folder = await mkdtemp(join(root, 'runs', 'test-'));
    await writeFile(join(folder, 'job.ts'), job);
  });
  afterAll(() => rm(folder, { recursive: true }));

  async function train(workers: number, compile: boolean, microBatches = 1): Promise<Summary> {
    const name = `${workers}-${String(compile)}-${microBatches}`;
    const summary = join(folder, `${name}.json`);
    const fields = ['slots=4', 'threads=1', `compile=${String(compile)}`, `microBatches=${microBatches}`];
    const settings = fields.flatMap((setting) => ['--set', setting]);
    const places = ['--run-dir', join(folder, name), '--summary', summary];
    const command = [join(root, 'dist/bin/lockstep.js'), 'train', join(folder, 'job.ts'), '--workers', String(workers)];
    await execa(process.execPath, [...command, ...settings, ...places], { cwd: root, reject: false });
    return JSON.parse(await readFile(summary, 'utf8')) as Summary; // The command's own format.
  }

  /** By the number of micro-batches. */
  const weights = new Map<number, string>();

  test.each([1, 3])(
    'has the same weights compiled and eager, with one worker and with two, in %i micro-batches',
    async (microBatches) => {
      const eager = await train(1, false, microBatches);
      expect(eager).toMatchObject({ ok: true, error: null, compiled: false });
      for (const workers of [1, 2]) {
        const { ok, compiled, weightsSha256 } = await train(workers, true, microBatches);
        const expected = { ok: true, compiled: true, weightsSha256: eager.weightsSha256 };
        expect({ ok, compiled, weightsSha256 }).toEqual(expected);
        weights.set(microBatches, weightsSha256);
      }
    },
  );

  test('has other weights in micro-batches, whose dropout and averages are their own', () => {
    expect(new Set(weights.values()).size).toBe(2);
  });
});
