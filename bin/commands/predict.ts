/** `lockstep predict`: what a checkpoint's model says of rows. */
import { Command, Option } from 'commander';
import { LockstepError } from '../../src/errors.js';
import type { Dataset } from '../../src/job/dataset.js';
import type { LoadedJob } from '../../src/job/loaded-job.js';
import { CheckpointWeights } from '../../worker/checkpoint/checkpoint-weights.js';
import { inputsOf, openSplit, type Split } from '../../worker/inference/data-for-inference.js';
import { predict } from '../../worker/inference/predictor.js';
import { addComputingOptions, openCheckpointedJob, type ComputingOptions } from '../checkpointed-job.js';
import { textLog } from '../log.js';
import { positiveInteger } from '../options.js';
import { predictionsTarget, writePredictions } from '../predictions.js';

interface PredictOptions extends ComputingOptions {
  readonly checkpoint: string;
  readonly input?: string;
  readonly field: string;
  readonly data: Split;
  readonly out?: string;
  readonly batch?: number;
}

export function predictCommand(): Command {
  const command = new Command('predict')
    .description('compute what a checkpoint predicts')
    .argument('<job>', 'the job file, .ts or .js')
    .requiredOption('--checkpoint <path>', 'a checkpoint, or the directory of a run: its newest one')
    .option('--input <file>', "inputs as the model takes them, .npy or .jsonl (default: the job's rows)")
    .option('--field <name>', 'of JSON lines, the field that is the input', 'x')
    .addOption(
      new Option('--data <split>', "which of the job's rows").choices(['validation', 'train']).default('validation'),
    )
    .option('--out <file>', '.npy or .jsonl (default: JSON lines on stdout)')
    .option('--batch <n>', "rows at once (default: the job's batchSize)", positiveInteger);
  return addComputingOptions(command).action(predictJob);
}

async function predictJob(job: string, options: PredictOptions): Promise<void> {
  const { checkpoint, input, field, data: split, out, batch } = options;
  const log = textLog({ level: 'warn' });
  const target = predictionsTarget(out);
  const inputs = input === undefined ? null : inputsOf(input, field);
  const { found, loaded, engine } = await openCheckpointedJob({ job, checkpoint }, options, log);
  const data = inputs ? await inputs.open() : await openRows(loaded, split);
  try {
    const { job: its, baseDir } = loaded;
    const weights = new CheckpointWeights({ path: found.path, merging: null });
    const batchRows = batch ?? its.batchSize;
    const outputs = predict({ tf: engine.tf, job: its, baseDir, weights, data, batchRows, log });
    await writePredictions(outputs, { target, numRows: data.length, log });
  } finally {
    await data.close?.();
  }
}

/** What `read` gives of data that the model makes are zeros. */
async function openRows(loaded: LoadedJob, split: Split): Promise<Dataset> {
  const data = await openSplit(loaded, split);
  if (!data.collect) return data;
  await data.close?.();
  const message = `The job's ${split} data is made by the model as it goes (rollouts), so there are no rows to predict for. Give inputs with --input FILE.`;
  throw new LockstepError('ERR_USAGE', message, { details: { split } });
}
