/**
 * A step of the job's optimizer over a range of the flat state: which moments it keeps, and which kernel with which
 * coefficients. The coefficients come from multiplications, divisions and subtractions in float64 alone, which every
 * JavaScript engine rounds alike (`Math.pow` and `**` may differ), and are then rounded to float32.
 */
import { assert } from '../errors.js';
import type { AdamCoefficients, Kernels } from '../kernels/kernels.js';
import type { AdamConfig, AdamWConfig, OptimizerConfig } from './config.js';

/** Regions of flat memory that hold an optimizer's moments. */
export type MomentRegion = 'moment1' | 'moment2';

/** Byte addresses of one range of trainable elements, in the memory of its segment. */
export interface OptimizerAddresses {
  readonly parameters: number;
  readonly gradient: number;
  /** Given if `momentRegions` names it; likewise `moment2`. */
  readonly moment1?: number | undefined;
  readonly moment2?: number | undefined;
}

/** The moments that the optimizer keeps for each trainable parameter; all begin as zeros. */
export function momentRegions(config: OptimizerConfig): readonly MomentRegion[] {
  if (config.name === 'sgd') return config.momentum === 0 ? [] : ['moment1'];
  return ['moment1', 'moment2'];
}

/**
 * Takes optimizer step `t` over `n` elements, in place. Elements are independent: a step over a range is the same as
 * steps over its parts.
 *
 * @param t the number of this step, from 1
 */
export function applyOptimizer(
  config: OptimizerConfig,
  t: number,
  kernels: Kernels,
  addresses: OptimizerAddresses,
  n: number,
): void {
  const { parameters, gradient, moment1, moment2 } = addresses;
  if (config.name === 'sgd') {
    assert(config.momentum === 0 || moment1 !== undefined, 'momentum needs the address of moment1');
    kernels.sgd({ parameters, gradient, moment1: config.momentum === 0 ? undefined : moment1 }, n, config);
    return;
  }
  assert(moment1 !== undefined && moment2 !== undefined, `${config.name} needs the addresses of moment1 and moment2`);
  kernels.adam({ parameters, gradient, moment1, moment2 }, n, adamCoefficients(config, t));
}

/** What the kernel needs of Adam or AdamW for step `t`, from 1. */
export function adamCoefficients(config: AdamConfig | AdamWConfig, t: number): AdamCoefficients {
  assert(Number.isSafeInteger(t) && t >= 1, `optimizer steps count from 1, found ${t}`);
  const { learningRate, beta1, beta2, epsilon } = config;
  return {
    beta1: Math.fround(beta1),
    share1: Math.fround(1 - beta1),
    beta2: Math.fround(beta2),
    share2: Math.fround(1 - beta2),
    stepSize: Math.fround(learningRate / (1 - power(beta1, t))),
    unbias2: Math.fround(1 / (1 - power(beta2, t))),
    epsilon: Math.fround(epsilon),
    decay: config.name === 'adamw' ? Math.fround(learningRate * config.weightDecay) : 0,
  };
}

/** `base` to a natural power, by repeated squaring. */
export function power(base: number, exponent: number): number {
  let result = 1;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result *= base;
    base *= base;
  }
  return result;
}
