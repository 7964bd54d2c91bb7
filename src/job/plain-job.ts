/** What of a job is plain data: compared between workers, written into checkpoints, shown to people. */
import type { Job } from './job.js';

/** JSON values only; functions and data sources are left to the digests of code and data. */
export type PlainJob = Record<string, PlainValue>;

type PlainValue = boolean | number | string | null | PlainValue[] | { [key: string]: PlainValue };

export function plainJob(job: Job): PlainJob {
  return {
    name: job.name,
    loss: nameOf(job.loss),
    metrics: job.metrics.map(nameOf),
    optimizer: job.optimizer,
    batchSize: job.batchSize,
    epochs: job.epochs,
    steps: job.steps ?? null,
    seed: job.seed,
    shuffle: job.shuffle,
    lastBatch: job.lastBatch,
    slots: job.slots ?? null,
    microBatches: job.microBatches,
    threads: job.threads ?? null,
    compile: job.compile,
    wire: job.wire,
    initialWeights: job.initialWeights ?? null,
    onNotFinite: job.onNotFinite,
    verifyEverySteps: job.verifyEverySteps,
    stragglers: job.stragglers ?? null,
    checkpointEverySteps: job.checkpointEverySteps ?? null,
    checkpointEverySeconds: job.checkpointEverySeconds ?? null,
    checkpointsKept: job.checkpointsKept,
  };
}

function nameOf(loss: Job['loss']): string {
  return typeof loss === 'string' ? loss : `function ${loss.name || '(unnamed)'}`;
}
