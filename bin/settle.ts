/** What a run is made of for good, and whether a command may change it. */
import { availableParallelism } from 'node:os';
import { LockstepError } from '../src/errors.js';
import type { LoadedJob } from '../src/job/loaded-job.js';
import { plainJob } from '../src/job/plain-job.js';
import { requireRowForEachSlot } from '../src/job/sampler.js';
import type { OptimizerConfig } from '../src/optimizer/config.js';
import type { Checkpoint } from '../src/state/checkpoint.js';
import type { Settled } from './summary.js';

/** A checkpoint's numbers where there is one, else the job's, else this machine's. */
export function settle({ job }: LoadedJob, numWorkers: number, checkpoint: Checkpoint | undefined): Settled {
  const fixed = checkpoint && { slots: checkpoint.sampler.slots, threads: Number(checkpoint.job['threads']) };
  const slots = job.slots ?? fixed?.slots ?? numWorkers;
  const threads = job.threads ?? fixed?.threads ?? Math.max(1, Math.floor(availableParallelism() / slots));
  if (slots < numWorkers) {
    const message = `${numWorkers} workers cannot share ${slots} slots: each needs one at least. Use fewer workers, or start a run with more slots.`;
    throw new LockstepError('ERR_JOB_INVALID', message, { details: { slots, numWorkers } });
  }
  requireRowForEachSlot(job.batchSize, slots);
  if (checkpoint) refuseOtherNumbers(checkpoint, { ...job, slots, threads });
  return { slots, threads };
}

/** Whatever would change the bits must be as it was. */
function refuseOtherNumbers(checkpoint: Checkpoint, now: LoadedJob['job'] & Settled): void {
  const was = {
    ...checkpoint.sampler,
    threads: checkpoint.job['threads'],
    microBatches: checkpoint.job['microBatches'],
    loss: checkpoint.job['loss'],
    wire: checkpoint.job['wire'],
    // Checkpoints of before have none of these.
    labelSmoothing: checkpoint.job['labelSmoothing'] ?? 0,
    freeze: checkpoint.job['freeze'] ?? [],
    lora: checkpoint.job['lora'] ?? null,
    optimizer: unsharded(checkpoint.optimizer),
  };
  const is: Readonly<Record<string, unknown>> = { ...plainJob(now), optimizer: unsharded(now.optimizer) };
  const keys = [
    'seed',
    'slots',
    'threads',
    'batchSize',
    'microBatches',
    'shuffle',
    'lastBatch',
    'loss',
    'wire',
    'labelSmoothing',
    'freeze',
    'lora',
    'optimizer',
  ] as const;
  const changed = keys.filter((key) => JSON.stringify(was[key]) !== JSON.stringify(is[key]));
  if (changed.length === 0) return;
  const differences = changed.map((key) => `${key} was ${JSON.stringify(was[key])} and is ${JSON.stringify(is[key])}`);
  throw new LockstepError(
    'ERR_RESUME_MISMATCH',
    `The job is not the one of the checkpoint: ${differences.join('; ')}. Set them back, or begin a new run with initialWeights.`,
    { details: { differences } },
  );
}

/** Who holds which moments changes no bits. */
function unsharded(optimizer: OptimizerConfig): OptimizerConfig {
  return { ...optimizer, sharded: false };
}
