/**
 * A step of the job's optimizer over a range of the flat state: which moments it keeps, and which kernel with which
 * coefficients. The coefficients come from multiplications, divisions and subtractions in float64 alone, which every
 * JavaScript engine rounds alike (`Math.pow` and `**` may differ), and are then rounded to float32.
 */
import { assert } from '../errors.js';
import type { AdamCoefficients, Kernels } from '../kernels/kernels.js';
import type { AdamConfig, AdamWConfig, OptimizerConfig } from './config.js';
import { rateAt } from './learning-rate.js';
import { power } from './power.js';
import { plainTreatment, type Treatment } from './treatment.js';

/** Regions of flat memory that hold an optimizer's moments, and the moving average of the weights. */
export type MomentRegion = 'moment1' | 'moment2' | typeof AVERAGE;

/** The region of the weights' moving average. It begins as the first weights. */
export const AVERAGE = 'average';

/** Which step it is, and of what. */
export interface OptimizerStep {
  readonly config: OptimizerConfig;
  /** The number of this step, from 1. */
  readonly t: number;
  /** @default that of all parameters */
  readonly treatment?: Treatment;
}

/** One range of trainable elements: its byte addresses in the memory of its segment. */
export interface OptimizerRange {
  readonly elements: number;
  readonly parameters: number;
  readonly gradient: number;
  /** Given if `sharedRegions` names it; likewise the other one. */
  readonly moment1?: number | undefined;
  readonly moment2?: number | undefined;
}

/** What the optimizer keeps for each trainable parameter. Moments begin as zeros. */
export function momentRegions(config: OptimizerConfig): readonly MomentRegion[] {
  const average: readonly MomentRegion[] = config.averageDecay === undefined ? [] : [AVERAGE];
  if (config.name === 'sgd') return config.momentum === 0 ? average : ['moment1', ...average];
  return ['moment1', 'moment2', ...average];
}

/** What workers share out where the optimizer is sharded. All weights are in each of them, so each keeps their whole average. */
export function sharedRegions(config: OptimizerConfig): readonly MomentRegion[] {
  return momentRegions(config).filter((region) => region !== AVERAGE);
}

/** Takes a step over a range, in place. Elements are independent: a step over a range is the same as steps over its parts. */
export function applyOptimizer(
  { config, t, treatment = plainTreatment }: OptimizerStep,
  kernels: Kernels,
  { parameters, gradient, moment1, moment2, elements }: OptimizerRange,
): void {
  if (config.name === 'sgd') {
    const { momentum, nesterov } = config;
    assert(momentum === 0 || moment1 !== undefined, 'momentum needs the address of moment1');
    const coefficients = { learningRate: rateOf(config, t, treatment), momentum, nesterov };
    kernels.sgd({ parameters, gradient, moment1: momentum === 0 ? undefined : moment1 }, elements, coefficients);
    return;
  }
  assert(moment1 !== undefined && moment2 !== undefined, `${config.name} needs the addresses of moment1 and moment2`);
  kernels.adam({ parameters, gradient, moment1, moment2 }, elements, adamCoefficients(config, t, treatment));
}

/** What the kernel needs of Adam or AdamW for step `t`, from 1. */
export function adamCoefficients(
  config: AdamConfig | AdamWConfig,
  t: number,
  treatment: Treatment = plainTreatment,
): AdamCoefficients {
  assert(Number.isSafeInteger(t) && t >= 1, `optimizer steps count from 1, found ${t}`);
  const { beta1, beta2, epsilon } = config;
  const rate = rateOf(config, t, treatment);
  return {
    beta1: Math.fround(beta1),
    share1: Math.fround(1 - beta1),
    beta2: Math.fround(beta2),
    share2: Math.fround(1 - beta2),
    stepSize: Math.fround(rate / (1 - power(beta1, t))),
    unbias2: Math.fround(1 / (1 - power(beta2, t))),
    epsilon: Math.fround(epsilon),
    decay: config.name === 'adamw' && treatment.decays ? Math.fround(rate * config.weightDecay) : 0,
  };
}

function rateOf({ learningRate }: OptimizerConfig, t: number, { rateFactor }: Treatment): number {
  return rateAt(learningRate, t - 1) * rateFactor;
}
