/** Blocks that are computed once more in the backward pass: with the bits of those that are kept, and in less memory. */
import type { Tensor } from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Batch } from '../../src/job/dataset.js';
import { CompiledStep } from '../../worker/compute/compiled/compiled-step.js';
import { loadEngine, type Engine } from '../../worker/compute/engine/load.js';
import { recomputed } from '../../worker/compute/recomputation.js';
import { TrainingStep, type SlotStep } from '../../worker/compute/step.js';
import { withStatelessRandom } from '../../worker/compute/stateless-random.js';
import { gpt2 } from '../../worker/models/gpt2/gpt2.js';
import { given, readAll, runSlot, silentLog, spread, type SlotResult } from '../unit/compute/toy.js';

const [numRows, numTokens, width] = [2, 48, 16];
const keys = [0, 1].map((step) => ({ seed: 3, step, slot: 1 }));

let engine: Engine;
beforeAll(async () => {
  engine = await loadEngine({ threads: 1, device: 'cpu', log: silentLog });
});

function batch(): Batch {
  const column = (first: number) => ({
    data: Int32Array.from({ length: numRows * numTokens }, (_, at) => (first + 5 * at) % 11),
    shape: [numRows, numTokens],
  });
  return { x: column(0), y: column(5) };
}

async function makeStep(recompute: boolean, numBlocks = 3): Promise<TrainingStep> {
  const shape = { vocab_size: 11, n_positions: numTokens, n_embd: width, n_layer: numBlocks, n_head: 2 };
  const model = gpt2(shape, { recompute, dropout: 0.2 });
  const job = { model, loss: 'sparseCategoricalCrossentropyFromLogits', metrics: ['accuracy'] };
  return TrainingStep.build({ tf: engine.tf, job, seed: 3, log: silentLog, sample: batch() });
}

function results(step: SlotStep): SlotResult[] {
  return keys.map((key) => runSlot(step, batch(), key));
}

describe('a GPT-2 whose blocks are recomputed', () => {
  it('has the bits of one whose blocks are kept, op by op and compiled', async () => {
    const kept = await makeStep(false);
    const expected = results(kept);
    kept.dispose();
    expect(expected[0]?.loss).not.toBe(expected[1]?.loss); // dropout draws

    const eager = await makeStep(true);
    expect(results(eager)).toEqual(expected);

    const { tf, native, backend } = engine;
    for (const addon of [native?.addon, undefined]) {
      const step = await makeStep(true);
      const compiled = new CompiledStep({ tf, step, log: silentLog, addon });
      expect(compiled.prepare(batch(), given(keys[0]))).toBe(backend === 'tensorflow');
      expect(results(compiled)).toEqual(expected);
      compiled.dispose();
    }
    eager.dispose();
  });

  it('keeps hardly more for each block', async ({ skip }) => {
    skip(engine.backend !== 'tensorflow', 'plain JavaScript keeps all');
    const perBlock = async (recompute: boolean): Promise<number> => {
      const few = await peakBytes(recompute, 2);
      return ((await peakBytes(recompute, 6)) - few) / 4;
    };
    const blockBytes = 4 * (12 * width ** 2 + 13 * width);
    const inputBytes = 4 * numRows * numTokens * width;
    // Parameters, gradients and what comes of them in a step, and the block's input; what it computes is ten times that.
    const allowed = 5 * blockBytes + 3 * inputBytes;
    expect(await perBlock(true)).toBeLessThan(allowed);
    expect(await perBlock(false)).toBeGreaterThan(3 * allowed);
  });
});

/** The most bytes of tensors in one step, op by op. */
async function peakBytes(recompute: boolean, numBlocks: number): Promise<number> {
  const step = await makeStep(recompute, numBlocks);
  const { peakBytes } = await engine.tf.profile(() => {
    runSlot(step, batch(), keys[0]);
    return [];
  });
  step.dispose();
  return peakBytes;
}

describe('a part of a model', () => {
  it('that is recomputed inside of one that is draws the same numbers, and what is behind it other ones', ({
    skip,
  }) => {
    skip(engine.backend !== 'tensorflow', 'plain JavaScript recomputes nothing');
    const { tf } = engine;
    const part: Op = (x) => tf.dropout(tf.mul(x, x), 0.5);
    const again = (op: Op): Op => {
      const compute = ({ activations: [x] }: { readonly activations: readonly Tensor[] }) => op(given(x));
      return (x) => recomputed(tf, { activations: [x], weights: [], constants: [], compute });
    };
    const run = (wrap: (op: Op) => Op) =>
      withStatelessRandom(tf, { purpose: 'step', ...given(keys[0]) }, undefined, () =>
        tf.tidy(() => {
          const twice: Op = (x) => wrap(part)(wrap(part)(x));
          const { value, grads } = tf.valueAndGrads((x: Tensor) => tf.sum(tf.dropout(wrap(twice)(x), 0.5)))([
            tf.tensor1d(spread(64)),
          ]);
          return readAll([value, ...grads]);
        }),
      );
    expect(run(again)).toEqual(run((op) => op));
  });
});

type Op = (x: Tensor) => Tensor;
