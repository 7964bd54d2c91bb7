/** A small GPT-2 against PyTorch, on whichever engine this machine has: test/golden/gpt2-tiny/README.md says what it is. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Batch } from '../../src/job/dataset.js';
import { CompiledStep } from '../../worker/compute/compiled/compiled-step.js';
import { loadEngine, type Engine } from '../../worker/compute/engine/load.js';
import { TrainingStep } from '../../worker/compute/step.js';
import { gpt2 } from '../../worker/models/gpt2/gpt2.js';
import { readTensors } from '../support/run-files.js';
import { runSlot, silentLog } from '../unit/compute/toy.js';

/** Issue 5, "What must hold". */
const logitsTolerance = 1e-4;
const gradientTolerance = 1e-5;
const lossTolerance = 1e-5;

const golden = (name: string): string => fileURLToPath(new URL(`../golden/gpt2-tiny/${name}`, import.meta.url));
const expected = z
  .object({
    tokens: z.array(z.array(z.array(z.int()))),
    firstLogits: z.object({ slice: z.literal('[0, 0:4, 0:8]'), values: z.array(z.array(z.number())) }),
    lossPerStep: z.array(z.number()),
  })
  .parse(JSON.parse(readFileSync(golden('expected.json'), 'utf8')));

const key = { seed: 0, step: 0, slot: 0 };
const build = { seed: 0, log: silentLog, baseDir: golden('..'), sample: firstBatch() };
const job = { model: gpt2('gpt2-tiny'), loss: 'sparseCategoricalCrossentropyFromLogits', metrics: [] };

let engine: Engine;
beforeAll(async () => {
  engine = await loadEngine({ threads: 1, device: 'cpu', log: silentLog });
});

/** Each token but a row's first is predicted, by the ones before it. */
function firstBatch(): Batch {
  const rows = expected.tokens[0] ?? [];
  const column = (take: (row: number[]) => number[]) => {
    return { data: Int32Array.from(rows.flatMap(take)), shape: [rows.length, 31] };
  };
  return { x: column((row) => row.slice(0, -1)), y: column((row) => row.slice(1)) };
}

describe('the golden GPT-2', () => {
  it('has the logits of PyTorch', async () => {
    const { tf } = engine;
    const model = await gpt2('gpt2-tiny')({ baseDir: golden('..') });
    const found = tf.tidy(() => {
      const tokens = tf.tensor2d(expected.tokens[0] ?? [], undefined, 'int32');
      return tf.slice(model.forward(model.parameters, tokens, { training: false }), [0, 0, 0], [1, 4, 8]).dataSync();
    });
    tf.dispose(Object.values(model.parameters));
    expect(largestDifference(found, expected.firstLogits.values.flat())).toBeLessThan(logitsTolerance);
  });

  it.each(['eager', 'compiled'])('has the loss and the gradient of PyTorch (%s)', async (how) => {
    const { tf, native } = engine;
    const eager = await TrainingStep.build({ tf, job, ...build });
    const step = how === 'eager' ? eager : new CompiledStep({ tf, step: eager, log: silentLog, addon: native?.addon });
    try {
      if (step instanceof CompiledStep && engine.backend === 'tensorflow') {
        expect(step.prepare(firstBatch(), key)).toBe(true);
      }
      const { loss, gradients } = runSlot(step, firstBatch(), key);

      expect(Math.abs(loss - (expected.lossPerStep[0] ?? NaN))).toBeLessThan(lossTolerance);
      const reference = readTensors(golden('first-gradient.safetensors'));
      expect(step.parameters.map(({ name }) => name).toSorted()).toEqual([...reference.keys()].toSorted());
      step.parameters.forEach(({ name }, index) => {
        const difference = largestDifference(gradients[index] ?? [], reference.get(name) ?? []);
        expect(difference, name).toBeLessThan(gradientTolerance);
      });
    } finally {
      step.dispose();
    }
  });
});

function largestDifference(found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (found.length !== wanted.length) return Infinity;
  return Array.from(found, (value, at) => Math.abs(value - (wanted[at] ?? NaN))).reduce(
    (most, difference) => (difference <= most ? most : difference), // NaN stays
    0,
  );
}
