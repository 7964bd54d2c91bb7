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
export { defineJob } from './src/job/job.js';
export type { BatchFunction, FunctionalModel, JobDefinition, Model } from './src/job/job.js';
export { adam, adamw, sgd } from './src/optimizer/config.js';
export type { AdamConfig, AdamWConfig, OptimizerConfig, SgdConfig } from './src/optimizer/config.js';
export { tf } from './worker/compute/tf.js';
export * from './worker/data/index.js';
