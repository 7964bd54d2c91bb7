/** The rows that a trained model is asked about: the job's own, or those of a file. */
import { LockstepError } from '../../src/errors.js';
import { openData, type Dataset } from '../../src/job/dataset.js';
import type { LoadedJob } from '../../src/job/loaded-job.js';
import { jsonLines } from '../data/json-lines.js';
import { npy } from '../data/npy.js';

export type Split = 'train' | 'validation';

/** The job's rows, treated as in training. @throws LockstepError ERR_JOB_INVALID where the job has no such rows */
export async function openSplit({ job, baseDir }: LoadedJob, split: Split): Promise<Dataset> {
  const data = job.data[split];
  if (!data) {
    const next = 'Give it data: { validation }, or use --data train.';
    throw new LockstepError('ERR_JOB_INVALID', `The job has no ${split} data. ${next}`, { details: { split } });
  }
  return nonEmpty(await openData(data, { baseDir }), `The job's ${split} data`);
}

/**
 * The inputs of a file, as they are: `.npy`, or JSON lines of which one field is read. Each row has itself for its label.
 *
 * @param path relative to the working directory
 * @throws LockstepError ERR_USAGE for a file that ends otherwise; the others come as it is opened
 */
export function inputsOf(path: string, field: string): { readonly open: () => Promise<Dataset> } {
  const name = path.replace(/\.gz$/, '');
  const isNpy = name.endsWith('.npy');
  if (!isNpy && !/\.(jsonl|ndjson|json)$/.test(name)) {
    throw new LockstepError('ERR_USAGE', `--input ${path}: expected a file .npy or .jsonl, or one of them with .gz.`);
  }
  const source = isNpy ? npy({ x: path, y: path }) : jsonLines(path, { x: field, y: field });
  return { open: async () => nonEmpty(await source.open({ baseDir: process.cwd() }), path) };
}

function nonEmpty(data: Dataset, what: string): Dataset {
  if (data.length > 0) return data;
  throw new LockstepError('ERR_DATA_INVALID', `${what} has no rows; at least one is needed.`);
}
