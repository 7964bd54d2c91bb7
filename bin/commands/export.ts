/** `lockstep export`: the weights of a checkpoint as a file of another tool. */
import { Command, Option } from 'commander';
import { LockstepError } from '../../src/errors.js';
import { withoutAdapters } from '../../worker/checkpoint/checkpoint-weights.js';
import { exportKeras } from '../../worker/export/keras-model.js';
import { withLayersModel } from '../../worker/export/layers-model.js';
import { exportSafetensors } from '../../worker/export/safetensors-weights.js';
import { exportTfjs } from '../../worker/export/tfjs-model.js';
import {
  addComputingOptions,
  findCheckpoint,
  openCheckpointedJob,
  type ComputingOptions,
} from '../checkpointed-job.js';
import { textLog } from '../log.js';

interface ExportOptions extends ComputingOptions {
  readonly format: 'safetensors' | 'tfjs' | 'keras';
  readonly job?: string;
  readonly out: string;
}

export function exportCommand(): Command {
  const command = new Command('export')
    .description('write the weights of a checkpoint for other tools')
    .argument('<checkpoint>', 'a checkpoint, or the directory of a run: its newest one')
    .addOption(
      new Option('--format <format>', 'what to write').choices(['safetensors', 'tfjs', 'keras']).makeOptionMandatory(),
    )
    .option('--job <job>', 'the job file, for formats that have the model and not only its weights')
    .requiredOption('--out <path>', 'the file to write; for tfjs the folder');
  return addComputingOptions(command).action(exportCheckpoint);
}

async function exportCheckpoint(checkpoint: string, options: ExportOptions): Promise<void> {
  const { format, job, out } = options;
  const log = textLog({ level: 'warn' });
  if (format === 'keras' && !out.endsWith('.keras')) {
    throw new LockstepError('ERR_USAGE', `--out ${out}: Keras reads such a file by its name only; expected ….keras.`);
  }
  if (format === 'safetensors') {
    await exportSafetensors(withoutAdapters(await findCheckpoint(checkpoint, log)), out, log);
  } else {
    await exportModel(checkpoint, { ...options, format, job: requireJob(format, job) });
  }
  process.stdout.write(`${out}\n`);
}

function requireJob(format: string, job: string | undefined): string {
  if (job !== undefined) return job;
  const message = `--format ${format} needs --job JOB: a checkpoint has the weights, and the job has the model.`;
  throw new LockstepError('ERR_USAGE', message);
}

async function exportModel(
  checkpoint: string,
  options: ExportOptions & { readonly format: 'tfjs' | 'keras'; readonly job: string },
): Promise<void> {
  const { format, job, out } = options;
  const log = textLog({ level: 'warn' });
  const { found, loaded, engine } = await openCheckpointedJob({ job, checkpoint }, options, log);
  const write = format === 'tfjs' ? exportTfjs : exportKeras;
  await withLayersModel({ tf: engine.tf, loaded, found, log }, (model) => write(model, out, log));
}
