/** What of a job is plain data: compared between workers, written into checkpoints, shown to people. */
import type { OptimizerConfig } from '../optimizer/config.js';
import type { BestConfig } from './best.js';
import type { Job } from './job.js';

type PlainValue = boolean | number | string | null | PlainValue[] | { [key: string]: PlainValue };

/** JSON values only; functions and data sources are left to the digests of code and data, and `precision` has one value in all jobs. */
export type PlainJob = Record<string, PlainValue>;

export function plainJob(job: Job): PlainJob {
  return {
    name: job.name,
    loss: nameOf(job.loss),
    metrics: job.metrics.map(nameOf),
    labelSmoothing: job.labelSmoothing,
    freeze: job.freeze,
    lora: job.lora ?? null,
    optimizer: withoutGaps(job.optimizer),
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
    best: job.best ? withoutGaps(job.best) : null,
  };
}

/** Fields that are left out, and not there as undefined. */
function withoutGaps(value: OptimizerConfig | BestConfig): PlainJob {
  const entries: (readonly [string, PlainValue | undefined])[] = Object.entries(value);
  return Object.fromEntries(entries.flatMap(([key, field]) => (field === undefined ? [] : [[key, field] as const])));
}

function nameOf(loss: Job['loss']): string {
  return typeof loss === 'string' ? loss : `function ${loss.name || '(unnamed)'}`;
}
