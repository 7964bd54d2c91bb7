/** A small language model learns English from 1.1 MB of prose, Genesis onwards. */
import { adamw, cosineRate, defineJob } from 'lockstep';
import { blocksOf, model } from './model.js';

export default defineJob({
  name: 'narrative',
  model,
  loss: 'sparseCategoricalCrossentropyFromLogits',
  data: blocksOf('narrative.txt.gz'),
  optimizer: adamw({ learningRate: cosineRate(3e-3, { steps: 1446, warmUpSteps: 50 }), clipNorm: 1 }),
  batchSize: 32,
  epochs: 6,
  slots: 2,
  seed: 1,
});
