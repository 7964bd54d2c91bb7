/** The same verse, of which small matrices beside the model's own learn, whose matrices stay as they are. */
import { adamw, cosineRate, defineJob } from 'lockstep';
import { blocksOf, model } from './model.js';

export default defineJob({
  name: 'poetry-lora',
  model,
  lora: { rank: 16, alpha: 32, targets: ['transformer.h.*.attn.*.weight', 'transformer.h.*.mlp.*.weight'] },
  loss: 'sparseCategoricalCrossentropyFromLogits',
  data: blocksOf('poetry.txt.gz'),
  optimizer: adamw({ learningRate: cosineRate(5e-3, { steps: 528, warmUpSteps: 30 }), clipNorm: 1 }),
  batchSize: 32,
  epochs: 8,
  slots: 2,
  seed: 2,
});
