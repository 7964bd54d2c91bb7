/**
 * Learning rates as a job describes them: a number, or a plain object from which the rate of each step follows. They are
 * worked out in float64 by additions, multiplications and divisions alone, which every JavaScript engine rounds alike.
 */
import { z } from 'zod';
import { power } from './power.js';

const rate = z.number().positive();
const restingRate = z.number().min(0);
const steps = z.int().positive();
/** Steps in which the rate rises to its first value, in equal parts from 0. */
const warmUpSteps = z.int().min(0).default(0);

const constantSchema = z.strictObject({ name: z.literal('constant'), rate, warmUpSteps });

const fallingShape = { from: rate, to: restingRate.default(0), steps, warmUpSteps };
const linearSchema = z.strictObject({ name: z.literal('linear'), ...fallingShape });
const cosineSchema = z.strictObject({ name: z.literal('cosine'), ...fallingShape });

const steppedSchema = z.strictObject({
  name: z.literal('stepped'),
  from: rate,
  factor: z.number().positive().default(0.1),
  everySteps: steps,
  warmUpSteps,
});

const oneCycleSchema = z.strictObject({
  name: z.literal('one-cycle'),
  peak: rate,
  steps,
  rise: z.number().min(0).lt(1).default(0.3),
  from: restingRate,
  to: restingRate,
});

const scheduleSchema = z.discriminatedUnion('name', [
  constantSchema,
  linearSchema,
  cosineSchema,
  steppedSchema,
  oneCycleSchema,
]);

export const learningRateSchema = z.union(
  [rate, scheduleSchema],
  'expected a positive number, or a schedule such as cosineRate(0.01, { steps: 1000 })',
);

export type LearningRate = z.output<typeof learningRateSchema>;
export type LearningRateSchedule = z.output<typeof scheduleSchema>;
type Named<Name extends LearningRateSchedule['name']> = Extract<LearningRateSchedule, { name: Name }>;

/** The same rate in every step, after `warmUpSteps` (default 0). */
export function constantRate(
  rate: number,
  { warmUpSteps = 0 }: { readonly warmUpSteps?: number } = {},
): Named<'constant'> {
  return { name: 'constant', rate, warmUpSteps };
}

export interface FallingRateOptions {
  /** The step from which on the rate is `to`, those of the warm-up counted too. */
  readonly steps: number;
  /** @default 0 */
  readonly to?: number;
  /** @default 0 */
  readonly warmUpSteps?: number;
}

/** Falls in equal parts from `from` to `to` (default 0): PyTorch's LinearLR, and Hugging Face's linear schedule with warm-up. */
export function linearRate(from: number, { steps, to = 0, warmUpSteps = 0 }: FallingRateOptions): Named<'linear'> {
  return { name: 'linear', from, to, steps, warmUpSteps };
}

/** Falls along half a cosine (Loshchilov and Hutter, 2017, arXiv:1608.03983) to `to` (default 0), and stays there. */
export function cosineRate(from: number, { steps, to = 0, warmUpSteps = 0 }: FallingRateOptions): Named<'cosine'> {
  return { name: 'cosine', from, to, steps, warmUpSteps };
}

/** Is multiplied by `factor` (default 0.1) every `everySteps` steps after the warm-up: PyTorch's StepLR. */
export function steppedRate(
  from: number,
  options: { readonly everySteps: number; readonly factor?: number; readonly warmUpSteps?: number },
): Named<'stepped'> {
  return { name: 'stepped', from, factor: 0.1, warmUpSteps: 0, ...options };
}

export interface OneCycleOptions {
  readonly steps: number;
  /** The part of the steps in which the rate rises. @default 0.3 */
  readonly rise?: number;
  /** The first rate. @default peak / 25 */
  readonly from?: number;
  /** The last rate. @default peak / 250,000 */
  readonly to?: number;
}

/** Rises to `peak` and falls again, along half a cosine each (Smith, 2018, arXiv:1708.07120), as PyTorch's OneCycleLR does. */
export function oneCycleRate(
  peak: number,
  { steps, rise = 0.3, from = peak / 25, to = peak / 25 / 1e4 }: OneCycleOptions,
): Named<'one-cycle'> {
  return { name: 'one-cycle', peak, steps, rise, from, to };
}

/** What is wrong with a rate that falls: it has no steps in which to do so, and would be its last one at once; null: nothing. */
export function misfitOfRate(learningRate: LearningRate): string | null {
  if (typeof learningRate === 'number' || (learningRate.name !== 'linear' && learningRate.name !== 'cosine'))
    return null;
  const { name, from, to, steps, warmUpSteps } = learningRate;
  if (steps > warmUpSteps) return null;
  return (
    `optimizer.learningRate: steps (${steps}) counts those of the warm-up too, and has to be more than warmUpSteps (${warmUpSteps}); ` +
    `else the ${name} rate is ${to} instead of ${from} when the warm-up ends`
  );
}

/** The rate of a step. @param step counted from 0 */
export function rateAt(learningRate: LearningRate, step: number): number {
  if (typeof learningRate === 'number') return learningRate;
  if (learningRate.name === 'one-cycle') return oneCycleAt(learningRate, step);
  const { warmUpSteps } = learningRate;
  if (step >= warmUpSteps) return afterWarmUp(learningRate, step - warmUpSteps);
  return (firstRate(learningRate) * step) / warmUpSteps;
}

type Warmed = Exclude<LearningRateSchedule, { name: 'one-cycle' }>;

function firstRate(schedule: Warmed): number {
  return schedule.name === 'constant' ? schedule.rate : schedule.from;
}

function afterWarmUp(schedule: Warmed, step: number): number {
  switch (schedule.name) {
    case 'constant':
      return schedule.rate;
    case 'linear':
      return between(schedule.from, schedule.to, progressOf(schedule, step));
    case 'cosine':
      return alongCosine(schedule.from, schedule.to, progressOf(schedule, step));
    case 'stepped':
      return schedule.from * power(schedule.factor, Math.floor(step / schedule.everySteps));
  }
}

/** From 0 to 1, and 1 from the end on. */
function progressOf(
  { steps, warmUpSteps }: { readonly steps: number; readonly warmUpSteps: number },
  step: number,
): number {
  return fraction(step, steps - warmUpSteps);
}

function oneCycleAt({ peak, steps, rise, from, to }: Named<'one-cycle'>, step: number): number {
  const peakStep = Math.max(0, rise * steps - 1);
  if (step < peakStep) return alongCosine(from, peak, step / peakStep);
  return alongCosine(peak, to, fraction(step - peakStep, steps - 1 - peakStep));
}

function fraction(part: number, whole: number): number {
  return part < whole ? part / whole : 1;
}

function between(from: number, to: number, progress: number): number {
  return progress >= 1 ? to : from + (to - from) * progress;
}

function alongCosine(from: number, to: number, progress: number): number {
  return progress >= 1 ? to : to + ((from - to) * (1 + cosineOfPart(progress))) / 2;
}

/** cos(π x) for x from 0 to 1, as sin(π (½ - x)) by its series, whose first term left out is below 1e-19. */
function cosineOfPart(x: number): number {
  const angle = Math.PI * (0.5 - x);
  let factor = 1;
  for (let n = 24; n >= 2; n -= 2) factor = 1 - ((angle * angle) / (n * (n + 1))) * factor;
  return angle * factor;
}
