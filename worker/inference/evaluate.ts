/** Loss and metrics of a trained model, computed as a run's validation computes them: the same bits for the same slots and batches. */
import type { Dataset } from '../../src/job/dataset.js';
import type { LoadedJob } from '../../src/job/loaded-job.js';
import type { Log } from '../../src/log.js';
import type { SlotEvaluation } from '../../src/protocol/messages.js';
import type { FoundCheckpoint } from '../checkpoint/checkpoint-folder.js';
import { CheckpointWeights } from '../checkpoint/checkpoint-weights.js';
import type { Tfjs } from '../compute/engine/tfjs.js';
import { TrainingStep } from '../compute/step.js';
import { Evaluation } from '../evaluation.js';

export interface EvaluateOptions {
  readonly tf: Tfjs;
  readonly loaded: LoadedJob;
  readonly found: FoundCheckpoint;
  readonly data: Dataset;
  readonly log: Log;
}

export interface Evaluated {
  readonly metricNames: readonly string[];
  /** In the order of the slots. */
  readonly slots: readonly SlotEvaluation[];
}

export async function evaluate({ tf, loaded, found, data, log }: EvaluateOptions): Promise<Evaluated> {
  const { job, baseDir } = loaded;
  const { sampler, step: numSteps } = found.checkpoint;
  const { slots: numSlots, batchSize } = sampler;
  const sample = await data.read([...Array(Math.min(2, data.length)).keys()]);
  const step = await TrainingStep.build({ tf, job, seed: job.seed, log, sample, baseDir });
  try {
    const values: Float32Array[] = [];
    const weights = new CheckpointWeights({ path: found.path, merging: null });
    for await (const [, ofParameter] of weights.read(step.parameters)) values.push(ofParameter);
    step.bindWeights(values);
    const batchRows = Math.max(1, Math.ceil(batchSize / numSlots));
    const evaluation = new Evaluation({ step, data, seed: job.seed, numSlots, batchRows });
    const slots = await evaluation.of({ firstSlot: 0, endSlot: numSlots }, numSteps, () => false);
    return { metricNames: step.metricNames, slots: slots ?? [] };
  } finally {
    step.dispose();
  }
}
