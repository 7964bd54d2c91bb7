/** `lockstep evaluate`: loss and metrics of a checkpoint on the job's rows. */
import { Command, Option } from 'commander';
import { meanOfSlots } from '../../coordinator/run-record.js';
import { openSplit, type Split } from '../../worker/inference/data-for-inference.js';
import { evaluate } from '../../worker/inference/evaluate.js';
import { addComputingOptions, openCheckpointedJob, type ComputingOptions } from '../checkpointed-job.js';
import { textLog } from '../log.js';
import { formatMetrics } from '../view.js';

interface EvaluateOptions extends ComputingOptions {
  readonly checkpoint: string;
  readonly data: Split;
  readonly json: boolean;
}

export function evaluateCommand(): Command {
  const command = new Command('evaluate')
    .description("compute loss and metrics of a checkpoint on the job's data")
    .argument('<job>', 'the job file, .ts or .js')
    .requiredOption('--checkpoint <path>', 'a checkpoint, or the directory of a run: its newest one')
    .addOption(new Option('--data <split>', 'which rows').choices(['validation', 'train']).default('validation'))
    .option('--json', 'one JSON object on stdout', false);
  return addComputingOptions(command).action(evaluateJob);
}

async function evaluateJob(job: string, options: EvaluateOptions): Promise<void> {
  const { checkpoint, data: split, json } = options;
  const log = textLog({ level: 'warn' });
  const { found, loaded, engine } = await openCheckpointedJob({ job, checkpoint }, options, log);
  const data = await openSplit(loaded, split);
  try {
    const { path } = found;
    const { step } = found.checkpoint;
    const { metricNames, slots } = await evaluate({ tf: engine.tf, loaded, found, data, log });
    const { loss, metrics } = meanOfSlots(slots);
    const named = Object.fromEntries(metricNames.map((name, index) => [name, metrics[index] ?? NaN]));
    const result = { checkpoint: path, step, data: split, rows: data.length, loss, metrics: named };
    const text = `step ${step}, ${data.length} rows of ${split}: ${formatMetrics({ loss, ...named })}`;
    process.stdout.write(`${json ? JSON.stringify(result) : text}\n`);
  } finally {
    await data.close?.();
  }
}
