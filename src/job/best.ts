/** Which validation is the best so far, and when the run has waited long enough for a better one: pure functions of their values. */
import { z } from 'zod';
import { assert } from '../errors.js';
import { listed } from '../listed.js';

const prefix = 'val_';
/** Metrics that a message names. */
const maxListed = 12;

export const bestSchema = z.strictObject({
  metric: z.string().regex(/^val_./, 'expected the name of what is validated, such as "val_loss"'),
  mode: z.enum(['min', 'max']).optional(),
  minDelta: z.number().min(0).default(0),
  patience: z.int().positive().optional(),
});

/** What of validations counts, and for how long. */
export type BestConfig = z.output<typeof bestSchema>;

/** What validations have come to. */
export interface Standing {
  readonly best: number;
  /** Validations since the best one, and one more for itself; 0: there was none. */
  readonly count: number;
}

export const noValidation: Standing = { best: 0, count: 0 };

/** The standing after one more validation. One that is NaN is no better than any. */
export function judge(config: BestConfig, { best, count }: Standing, value: number): Standing {
  const { minDelta } = config;
  const gain = modeOf(config) === 'min' ? best - value : value - best;
  const isBetter = count === 0 ? !Number.isNaN(value) : gain > minDelta;
  if (isBetter) return { best: value, count: 1 };
  return { best, count: count === 0 ? 0 : count + 1 };
}

/** Whether so many validations in a row were no better that the run is to end. */
export function hasWaited({ patience = Infinity }: BestConfig, { count }: Standing): boolean {
  return count > patience;
}

/** Of all metrics that have a name. */
const largerIsBetter = ['acc', 'accuracy', 'binaryAccuracy', 'categoricalAccuracy', 'precision'];
const smallerIsBetter = [
  ...['loss', 'MAE', 'MAPE', 'MSE', 'mae', 'mape', 'mse'],
  ...['categoricalCrossentropy', 'ce', 'crossentropy', 'sparseCategoricalCrossentropy'],
  'cosine', // which tfjs takes with a minus
];
const knownModes: ReadonlyMap<string, 'min' | 'max'> = new Map([
  ...largerIsBetter.map((name) => [name, 'max'] as const),
  ...smallerIsBetter.map((name) => [name, 'min'] as const),
]);

/**
 * Why the job has to say more of its best validation; null: it has said enough. To guess by the name of a function would keep the worst
 * checkpoint without a word.
 *
 * @param metrics of the job: names and functions
 */
export function misfitOfBest({ metric, mode }: BestConfig, metrics: readonly unknown[]): string | null {
  const name = metric.slice(prefix.length);
  const isNamed = name === 'loss' || metrics.includes(name);
  if (mode !== undefined || (isNamed && knownModes.has(name))) return null;
  const named = ['loss', ...metrics.filter((one) => typeof one === 'string')].map((one) => `${prefix}${one}`);
  const known = listed(named, maxListed, ', ');
  return `best.mode: whether a larger or a smaller "${metric}" is better is known only of ${known}; give mode: 'max' or 'min'`;
}

function modeOf({ metric, mode = knownModes.get(metric.slice(prefix.length)) }: BestConfig): 'min' | 'max' {
  assert(mode !== undefined, `which ${metric} is better is asked of a job that was not checked`);
  return mode;
}
