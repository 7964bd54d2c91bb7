/** What a checkpoint of this run says about itself. */
import { plainJob } from '../src/job/plain-job.js';
import type { CheckpointFacts } from '../src/state/checkpoint.js';
import { lockstepVersion } from '../src/version.js';
import type { Prepared } from './preparation.js';

/** @param step the steps that it has */
export function checkpointFacts({ plan, loaded, engine, schedule, data }: Prepared, step: number): CheckpointFacts {
  const { job } = loaded;
  return {
    runId: plan.runId,
    step,
    position: schedule.sampler.position(step),
    sampler: {
      rows: data.train.length,
      batchSize: job.batchSize,
      slots: plan.slots,
      seed: job.seed,
      shuffle: job.shuffle,
      lastBatch: job.lastBatch,
    },
    job: { ...plainJob(job), slots: plan.slots, threads: plan.threads },
    optimizer: job.optimizer,
    engine: engine.description,
    lockstepVersion,
  };
}
