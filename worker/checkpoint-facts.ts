/** What a checkpoint of this run says about itself, and where it lies. */
import { join } from 'node:path';
import { plainJob } from '../src/job/plain-job.js';
import type { CheckpointFacts } from '../src/state/checkpoint.js';
import type { FlatMemory } from '../src/state/memory.js';
import { lockstepVersion } from '../src/version.js';
import type { Prepared } from './preparation.js';
import { validationFacts } from './validations.js';

/**
 * @param memory holds the state
 * @param step the steps that it has
 */
export function checkpointFacts(
  { plan, loaded, engine, schedule, data }: Prepared,
  memory: FlatMemory,
  step: number,
): CheckpointFacts {
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
    ...validationFacts(job, memory),
    engine: engine.description,
    lockstepVersion,
  };
}

/** The folder that they are written to. */
export function checkpointsOf({ plan }: Prepared): string {
  return join(plan.runDir, 'checkpoints');
}
