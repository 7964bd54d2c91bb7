/**
 * What validations have come to, where that may end the run: part of the state. Three scalars follow loss and metrics in the flat
 * state, and ride along in the all-reduce like them:
 *
 *   value   of the validation that lay before the last step, if one did: each slot tells its share of the mean
 *   best    the best value of those before; slot 0 tells it, and the others 0
 *   count   as in src/job/best.ts, likewise
 *
 * So all that have a state have the same, a newcomer too.
 */
import { LockstepError } from '../src/errors.js';
import type { BestConfig, Standing } from '../src/job/best.js';
import type { Job } from '../src/job/job.js';
import type { Checkpoint } from '../src/state/checkpoint.js';
import { type FlatMemory, PARAMETERS } from '../src/state/memory.js';

const numScalars = 3;

export interface Validations extends Standing {
  readonly value: number;
}

const none: Validations = { value: 0, best: 0, count: 0 };

/** Scalars that a job needs beside loss and metrics. */
export function numExtraScalars({ best }: Pick<Job, 'best'>): number {
  return best?.patience === undefined ? 0 : numScalars;
}

/** Of the state as it is, or of a slot's partial. */
export function readValidations(memory: FlatMemory, region = PARAMETERS): Validations {
  const [value = 0, best = 0, count = 0] = scalarsIn(memory, region);
  return { value, best, count };
}

/** @param validations null: there were none */
export function writeValidations(memory: FlatMemory, validations: Validations | null, region = PARAMETERS): void {
  const { value, best, count } = validations ?? none;
  scalarsIn(memory, region).set([value, best, count]);
}

/** What a checkpoint says of them; nothing where they cannot end the run. */
export function validationFacts({ best }: Pick<Job, 'best'>, memory: FlatMemory): Pick<Checkpoint, 'validations'> {
  return best?.patience === undefined ? {} : { validations: { metric: best.metric, ...readValidations(memory) } };
}

/** After a checkpoint was read; those of another metric do not count. */
export function restoreValidations({ best }: Pick<Job, 'best'>, memory: FlatMemory, { validations }: Checkpoint): void {
  if (best?.patience === undefined) return;
  writeValidations(memory, validations?.metric === best.metric ? validations : null);
}

/** @throws LockstepError ERR_JOB_INVALID where the job names what is not validated */
export function requireValidated({ metric }: BestConfig, metricNames: readonly string[]): void {
  const known = ['val_loss', ...metricNames.map((name) => `val_${name}`)];
  if (known.includes(metric)) return;
  throw new LockstepError(
    'ERR_JOB_INVALID',
    `best.metric: "${metric}" is none of what is validated: ${known.join(', ')}.`,
    { details: { metric, known } },
  );
}

function scalarsIn(memory: FlatMemory, region: string): Float32Array {
  const { layout } = memory;
  const end = layout.scalars.offset + layout.numScalars;
  return memory.view(region, layout.scalars.segment).subarray(end - numScalars, end);
}
