/** What `export`, `evaluate`, `predict` and `generate` begin with: a checkpoint, a job, and an engine to compute with. */
import { stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { Option, type Command } from 'commander';
import { checkpointFolder } from '../coordinator/run-folder.js';
import { LockstepError } from '../src/errors.js';
import type { Job } from '../src/job/job.js';
import type { LoadedJob } from '../src/job/loaded-job.js';
import type { Log } from '../src/log.js';
import type { Checkpoint } from '../src/state/checkpoint.js';
import { latestCheckpoint, type FoundCheckpoint } from '../worker/checkpoint/checkpoint-folder.js';
import { verifyCheckpoint } from '../worker/checkpoint/checkpoint-reader.js';
import { adaptersOf } from '../worker/checkpoint/checkpoint-weights.js';
import { loadEngine, type Engine } from '../worker/compute/engine/load.js';
import { loadJob } from './job-file.js';
import { collect, positiveInteger } from './options.js';

/** How the job is loaded, and what it computes on. */
export interface ComputingOptions {
  readonly set: readonly string[];
  readonly device: 'auto' | 'cpu' | 'gpu';
  readonly threads?: number;
}

export function addComputingOptions(command: Command): Command {
  return command
    .option('--set <key=value>', 'override a plain field of the job; may be repeated', collect, [])
    .addOption(new Option('--device <kind>', 'what to compute on').choices(['auto', 'cpu', 'gpu']).default('auto'))
    .option('--threads <n>', "TensorFlow threads (default: the checkpoint's)", positiveInteger);
}

export interface CheckpointedJob {
  readonly found: FoundCheckpoint;
  readonly loaded: LoadedJob;
  readonly engine: Engine;
}

export async function openCheckpointedJob(
  { job, checkpoint }: { readonly job: string; readonly checkpoint: string },
  options: ComputingOptions,
  log: Log,
): Promise<CheckpointedJob> {
  const found = await findCheckpoint(checkpoint, log);
  const engine = await loadEngineFor(found, options, log);
  const loaded = await loadJob(job, options.set);
  return { found, engine, loaded: { ...loaded, job: withAdaptersOf(found, loaded.job) } };
}

/** The job with the adapters of the checkpoint, whatever it trains next: with another `alpha`, they would compute something else. */
export function withAdaptersOf<Given extends Pick<Job, 'lora'>>({ checkpoint }: FoundCheckpoint, job: Given): Given {
  return { ...job, lora: adaptersOf(checkpoint) };
}

/** @param found null: all cores, unless somebody says otherwise */
export async function loadEngineFor(
  found: FoundCheckpoint | null,
  { threads, device }: ComputingOptions,
  log: Log,
): Promise<Engine> {
  const ofRun = found ? threadsOf(found.checkpoint) : availableParallelism();
  return loadEngine({ threads: threads ?? ofRun, device, log });
}

/**
 * A checkpoint by its own path, or the newest whole one of a run.
 *
 * @throws LockstepError ERR_CHECKPOINT_INVALID
 */
export async function findCheckpoint(path: string, log: Log): Promise<FoundCheckpoint> {
  const isFolder = await stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  if (!isFolder) return { path, checkpoint: await verifyCheckpoint(path) };
  const found = await latestCheckpoint(checkpointFolder(path), log);
  if (found) return found;
  const message = `${path} has no whole checkpoint. Give a checkpoint, or the directory of a run that has written one.`;
  throw new LockstepError('ERR_CHECKPOINT_INVALID', message, { details: { path } });
}

function threadsOf({ job }: Checkpoint): number {
  const { threads } = job;
  return typeof threads === 'number' ? threads : availableParallelism();
}
