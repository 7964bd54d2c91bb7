/** The folder of a run's checkpoints: one file per step, `step-00000050.safetensors`. */
import { open, readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LockstepError } from '../../src/errors.js';
import type { Log } from '../../src/log.js';
import type { Checkpoint } from '../../src/state/checkpoint.js';
import { readCheckpointHeader, verifyCheckpoint } from './checkpoint-reader.js';
import { putInPlace } from './local-files.js';

const STEP_DIGITS = 8;
const checkpointName = /^step-(?<step>\d{8,})\.safetensors$/;
/** What is being written, or a writer that was killed left behind. */
const asideName = /^\.tmp-step-(?<step>\d{8,})\.safetensors-/;

export interface FoundCheckpoint {
  readonly path: string;
  readonly checkpoint: Checkpoint;
}

/** Where the checkpoint of `step` lies. */
export function checkpointPath(folder: string, step: number): string {
  return join(folder, `step-${String(step).padStart(STEP_DIGITS, '0')}.safetensors`);
}

/**
 * The newest checkpoint that is whole, `undefined` if there is none. Each file down to that one is read once, from end to end.
 * Damaged ones are left where they are, with a line in the log for each: what is wrong, and what is used instead.
 */
export async function latestCheckpoint(folder: string, log: Log): Promise<FoundCheckpoint | undefined> {
  const damaged: { readonly path: string; readonly error: LockstepError }[] = [];
  const found = await newestWhole(await listSteps(folder, checkpointName), (path, error) => {
    damaged.push({ path, error });
  });
  const instead = found ? `${basename(found.path)} is used instead` : 'there is no older one that is whole';
  for (const { path, error } of damaged) {
    log.warn(`a checkpoint is passed over, ${instead}: ${error.message}`, { path, code: error.code });
  }
  return found;
}

async function newestWhole(
  files: readonly { readonly path: string }[],
  onDamaged: (path: string, error: LockstepError) => void,
): Promise<FoundCheckpoint | undefined> {
  for (const { path } of files) {
    try {
      return { path, checkpoint: await verifyCheckpoint(path) };
    } catch (error) {
      if (!(error instanceof LockstepError)) throw error;
      onDamaged(path, error);
    }
  }
  return undefined;
}

/**
 * Deletes what is older than the newest `keep` checkpoints up to `step`, the one just written, and what lies aside of steps up to
 * there: its writer was killed, or is overtaken (`isOvertaken`). Those of later steps stay: a run that went on behind a damaged one is not there yet. A file whose
 * header or size is wrong does not count, so that damaged ones never push out the last that is whole.
 */
export async function pruneCheckpoints(
  folder: string,
  options: { readonly keep: number; readonly step: number },
): Promise<void> {
  const isPast = (one: { readonly step: number }): boolean => one.step <= options.step;
  const leftovers = (await listSteps(folder, asideName)).filter(isPast);
  for (const { path } of leftovers) await rm(path, { force: true });
  let numWhole = 0;
  for (const { path } of (await listSteps(folder, checkpointName)).filter(isPast)) {
    if (numWhole >= options.keep) await rm(path, { force: true });
    else if (await hasWholeHeader(path)) numWhole++;
  }
}

/**
 * Whether the checkpoint of the same step or of a later one lies in the folder. Two write at once where another worker has become rank 0
 * meanwhile: the slower one then finds that what it wrote aside is gone, or damaged where it was written piece by piece. It is not needed.
 */
export async function isOvertaken(path: string): Promise<boolean> {
  const own = Number(checkpointName.exec(basename(path))?.groups?.step);
  for (const { step, path: other } of await listSteps(dirname(path), checkpointName)) {
    if (step >= own && (await isWhole(other))) return true;
  }
  return false;
}

/**
 * Gives a checkpoint that was written aside in the folder its name, if it is whole, and prunes. Nothing is done where its writer was
 * overtaken, or who gave it its name died before it said so.
 *
 * @returns whether it lies there
 * @throws LockstepError ERR_CHECKPOINT_INVALID
 */
export async function keepCheckpoint(
  aside: string,
  path: string,
  { keep, log }: { readonly keep: number; readonly log: Log },
): Promise<boolean> {
  const step = await putWhole(aside, path, log).catch(async (error: unknown) => {
    if (!isDamagedOrGone(error) || !(await isOvertaken(path))) throw error;
    await rm(aside, { force: true });
    return null;
  });
  if (step === null) return isWhole(path);
  log.info(`checkpoint of step ${step} written`, { path, step });
  await pruneCheckpoints(dirname(path), { keep, step });
  return true;
}

async function putWhole(aside: string, path: string, log: Log): Promise<number> {
  const { step } = await verifyCheckpoint(aside);
  await syncFile(aside);
  await putInPlace(aside, path, log);
  return step;
}

function isDamagedOrGone(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ERR_CHECKPOINT_INVALID' || code === 'ENOENT';
}

async function syncFile(path: string): Promise<void> {
  await using file = await open(path, 'r');
  await file.sync();
}

/** Whether a checkpoint lies there that is whole as far as its header tells. */
export async function hasWholeHeader(path: string): Promise<boolean> {
  return isRead(readCheckpointHeader(path));
}

/** Whether one lies there that is whole, read from end to end. */
export async function isWhole(path: string): Promise<boolean> {
  return isRead(verifyCheckpoint(path));
}

async function isRead(reading: Promise<Checkpoint>): Promise<boolean> {
  try {
    await reading;
    return true;
  } catch (error) {
    if (error instanceof LockstepError) return false;
    throw error;
  }
}

/** Files named so, newest step first; none if the folder is not there. */
async function listSteps(folder: string, pattern: RegExp): Promise<{ readonly step: number; readonly path: string }[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  });
  return names
    .flatMap((name) => {
      const step = pattern.exec(name)?.groups?.step;
      return step === undefined ? [] : [{ step: Number(step), path: join(folder, name) }];
    })
    .sort((a, b) => b.step - a.step);
}
