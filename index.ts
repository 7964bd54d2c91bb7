/** What a job file imports: `import { adam, csv, defineJob, tf } from 'lockstep'`. */
export { LockstepError, type ErrorCode } from './src/errors.js';
export type {
  Augment,
  Batch,
  ChangedRow,
  CollectContext,
  Column,
  DataSource,
  Dataset,
  OpenContext,
  Row,
} from './src/job/dataset.js';
export type { InitialWeightsDefinition } from './src/job/initial-weights.js';
export { defineJob } from './src/job/job.js';
export type {
  BatchFunction,
  FunctionalModel,
  JobDefinition,
  Model,
  ModelContext,
  ModelFunction,
} from './src/job/job.js';
export { adam, adamw, sgd } from './src/optimizer/config.js';
export type { AdamConfig, AdamWConfig, OptimizerConfig, SgdConfig } from './src/optimizer/config.js';
export { constantRate, cosineRate, linearRate, oneCycleRate, steppedRate } from './src/optimizer/learning-rate.js';
export type { LearningRate, LearningRateSchedule } from './src/optimizer/learning-rate.js';
export { mergeLora, type LoraConfig, type WeightTensor } from './src/state/lora.js';
export { tf } from './worker/compute/tf.js';
export * from './worker/data/index.js';
export type { Gpt2Config } from './worker/models/gpt2/config.js';
export { gpt2, type Gpt2Options } from './worker/models/gpt2/gpt2.js';
export { kerasModel } from './worker/models/keras/keras-model.js';
export { tfjsModel } from './worker/models/tfjs/tfjs-model.js';
