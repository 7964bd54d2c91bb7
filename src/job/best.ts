/** Which validation is the best so far, and when the run has waited long enough for a better one: pure functions of their values. */
import { z } from 'zod';

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
export function judge({ metric, mode, minDelta }: BestConfig, { best, count }: Standing, value: number): Standing {
  const gain = (mode ?? modeOf(metric)) === 'min' ? best - value : value - best;
  const isBetter = count === 0 ? !Number.isNaN(value) : gain > minDelta;
  if (isBetter) return { best: value, count: 1 };
  return { best, count: count === 0 ? 0 : count + 1 };
}

/** Whether so many validations in a row were no better that the run is to end. */
export function hasWaited({ patience = Infinity }: BestConfig, { count }: Standing): boolean {
  return count > patience;
}

/** As Keras guesses it. */
function modeOf(metric: string): 'min' | 'max' {
  return /acc|precision/i.test(metric) ? 'max' : 'min';
}
