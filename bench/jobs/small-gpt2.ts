/** GPT-2 as it was published, 124 million parameters, with random weights, on random tokens. */
import { adamw, defineJob, gpt2, type JobDefinition } from 'lockstep';
import { randomClasses } from './random.js';
import { repeated, type Rows } from './repeated.js';

const [numRows, numKinds] = [64, 50_257];

/** Of a row. */
export const rowTokens = 256;

const tokens = (seed: number): Rows['x'] => ({
  data: Int32Array.from(randomClasses(numRows * rowTokens, numKinds, seed)),
  shape: [numRows, rowTokens],
});

export interface SmallGpt2Options {
  readonly recompute?: boolean;
  readonly lora?: JobDefinition['lora'];
}

export function smallGpt2({ recompute = false, lora }: SmallGpt2Options = {}): JobDefinition {
  const shape = { vocab_size: numKinds, n_positions: 1024, n_embd: 768, n_layer: 12, n_head: 12 };
  return defineJob({
    name: 'gpt2',
    model: gpt2(shape, { recompute }),
    ...(lora && { lora }),
    loss: 'sparseCategoricalCrossentropyFromLogits',
    data: { train: repeated({ x: tokens(1), y: tokens(2) }) },
    optimizer: adamw({ learningRate: 3e-4 }),
    batchSize: 2,
  });
}
