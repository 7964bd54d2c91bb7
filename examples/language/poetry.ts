/** 0.3 MB of verse, Psalms and Proverbs: what the model is to write. With `initialWeights` it is fine-tuned, without it begins anew. */
import { adamw, cosineRate, defineJob } from 'lockstep';
import { blocksOf, model } from './model.js';

export default defineJob({
  name: 'poetry',
  model,
  loss: 'sparseCategoricalCrossentropyFromLogits',
  data: blocksOf('poetry.txt.gz'),
  optimizer: adamw({ learningRate: cosineRate(1e-3, { steps: 528, warmUpSteps: 30 }), clipNorm: 1 }),
  batchSize: 32,
  epochs: 8,
  slots: 2,
  seed: 2,
});
