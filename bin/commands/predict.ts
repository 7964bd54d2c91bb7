/** `lockstep predict`: what a checkpoint's model says of rows. */
import { Command, Option } from 'commander';
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
  const data = inputs ? await inputs.open() : await openSplit(loaded, split);
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
