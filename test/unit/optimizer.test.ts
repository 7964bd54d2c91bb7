import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { adam, adamw, type OptimizerConfig, optimizerSchema, sgd } from '../../src/optimizer/config.js';
import { cosineRate, rateAt } from '../../src/optimizer/learning-rate.js';
import { adamCoefficients, applyOptimizer, momentRegions } from '../../src/optimizer/optimizer.js';
import { power } from '../../src/optimizer/power.js';
import { instantiateKernels } from '../../src/kernels/kernels.js';

const N = 203;
const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
const kernels = instantiateKernels(memory);
const addresses = { parameters: 0, gradient: 4096, moment1: 8192, moment2: 12288 };
const whole = { ...addresses, elements: N };
const view = (name: keyof typeof addresses) => new Float32Array(memory.buffer, addresses[name], N);

/** What the papers and Keras say, in float64. */
function exactStep(config: OptimizerConfig, t: number, p: number, g: number, m: number, v: number) {
  const rate = rateAt(config.learningRate, t - 1);
  if (config.name === 'sgd') {
    const velocity = config.momentum * m - rate * g;
    const step = config.nesterov ? config.momentum * velocity - rate * g : velocity;
    return { p: p + step, m: velocity, v };
  }
  const decayed = config.name === 'adamw' ? p - rate * config.weightDecay * p : p;
  const moment1 = config.beta1 * m + (1 - config.beta1) * g;
  const moment2 = config.beta2 * v + (1 - config.beta2) * g * g;
  const unbiased1 = moment1 / (1 - config.beta1 ** t);
  const unbiased2 = moment2 / (1 - config.beta2 ** t);
  return {
    p: decayed - (rate * unbiased1) / (Math.sqrt(unbiased2) + config.epsilon),
    m: moment1,
    v: moment2,
  };
}

/** Gradients of very different sizes, some always zero, the same in every run. */
function gradientAt(step: number, i: number): number {
  if (i % 17 === 0) return 0;
  return Math.fround(10 ** ((i % 9) - 7) * Math.sin(step * 1.7 + i) + 1e-4 * Math.cos(i));
}

describe('applyOptimizer', () => {
  it.each([
    { config: adam(), tolerance: 1e-7 },
    { config: adam({ learningRate: 0.1, beta1: 0.5, beta2: 0.9, epsilon: 1e-3 }), tolerance: 1e-5 },
    { config: adamw({ learningRate: 0.01, weightDecay: 0.1 }), tolerance: 1e-6 },
    { config: adamw({ learningRate: cosineRate(0.01, { steps: 40, warmUpSteps: 5 }) }), tolerance: 1e-6 },
    { config: sgd(), tolerance: 1e-6 },
    { config: sgd({ momentum: 0.9 }), tolerance: 1e-5 },
    { config: sgd({ momentum: 0.9, nesterov: true }), tolerance: 1e-5 },
  ])('follows float64 over 50 steps of $config.name', ({ config, tolerance }) => {
    const exact = Array.from({ length: N }, (_, i) => ({ p: Math.fround(Math.sin(i) / 10), m: 0, v: 0 }));
    view('parameters').set(exact.map(({ p }) => p));
    view('moment1').fill(0);
    view('moment2').fill(0);
    for (let t = 1; t <= 50; t++) {
      view('gradient').set(exact.map((_, i) => gradientAt(t, i)));
      applyOptimizer({ config, t }, kernels, whole);
      exact.forEach(({ p, m, v }, i) => (exact[i] = exactStep(config, t, p, gradientAt(t, i), m, v)));
    }
    const errors = exact.map(({ p }, i) => Math.abs(p - (view('parameters')[i] ?? NaN)) / Math.max(1, Math.abs(p)));
    expect(Math.max(...errors)).toBeLessThan(tolerance);
  });

  it('gives the same bits over a range as over its parts', () => {
    const run = (parts: number[]) => {
      view('parameters').forEach((_, i, all) => (all[i] = Math.sin(i)));
      view('gradient').forEach((_, i, all) => (all[i] = gradientAt(1, i)));
      view('moment1').fill(0.25);
      view('moment2').fill(0.5);
      let from = 0;
      for (const n of parts) {
        const at = (address: number) => address + from * 4;
        const { parameters, gradient, moment1, moment2 } = addresses;
        const part = { parameters: at(parameters), gradient: at(gradient), moment1: at(moment1), moment2: at(moment2) };
        applyOptimizer({ config: adam(), t: 7 }, kernels, { ...part, elements: n });
        from += n;
      }
      return Array.from(view('parameters'));
    };
    expect(run([1, 15, 86, 101])).toEqual(run([N]));
  });

  it('is stopped by an assertion where a moment or a step number is missing', () => {
    const { elements, parameters, gradient, moment1 } = whole;
    const bare = { elements, parameters, gradient };
    const step = (config: OptimizerConfig, t: number, range: Parameters<typeof applyOptimizer>[2]) => () => {
      applyOptimizer({ config, t }, kernels, range);
    };
    expect(step(adam(), 1, { ...bare, moment1 })).toThrow('adam needs the addresses of moment1 and moment2');
    expect(step(sgd({ momentum: 0.5 }), 1, bare)).toThrow('momentum needs');
    expect(step(adam(), 0, whole)).toThrow('optimizer steps count from 1, found 0');
  });
});

describe('momentRegions', () => {
  it('names what each optimizer keeps', () => {
    expect(momentRegions(adam())).toEqual(['moment1', 'moment2']);
    expect(momentRegions(adamw())).toEqual(['moment1', 'moment2']);
    expect(momentRegions(sgd({ momentum: 0.9 }))).toEqual(['moment1']);
    expect(momentRegions(sgd())).toEqual([]);
    expect(momentRegions(sgd({ averageDecay: 0.99 }))).toEqual(['average']);
    expect(momentRegions(adam({ averageDecay: 0.99 }))).toEqual(['moment1', 'moment2', 'average']);
  });
});

describe('adamCoefficients', () => {
  it('rounds the complements of beta once, from float64', () => {
    const { share1, share2 } = adamCoefficients(adam(), 1);
    expect(share1).toBe(Math.fround(1 - 0.9));
    expect(share2).toBe(Math.fround(1 - 0.999));
    expect(share2).not.toBe(Math.fround(1 - Math.fround(0.999)));
  });

  it('ends with no correction after very many steps', () => {
    const { stepSize, unbias2 } = adamCoefficients(adam({ learningRate: 0.5 }), 2 ** 40);
    expect({ stepSize, unbias2 }).toEqual({ stepSize: 0.5, unbias2: 1 });
  });
});

describe('power', () => {
  it('is the power to the last few bits', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.5, max: 1, noNaN: true }), fc.integer({ min: 0, max: 500 }), (base, exponent) => {
        const expected = Math.pow(base, exponent);
        expect(Math.abs(power(base, exponent) - expected)).toBeLessThanOrEqual(expected * exponent * 2 ** -52);
      }),
    );
  });

  it('has the bits that Python finds by the same multiplications', () => {
    expect(power(0.999, 50)).toBe(0.9512056281970317);
  });
});

describe('optimizerSchema', () => {
  it('fills in the defaults that the functions have', () => {
    expect(optimizerSchema.parse({ name: 'adam' })).toEqual(adam());
    expect(optimizerSchema.parse({ name: 'adamw' })).toEqual(adamw());
    expect(optimizerSchema.parse({ name: 'sgd' })).toEqual(sgd());
  });

  it('refuses what no optimizer can work with', () => {
    for (const wrong of [
      { learningRate: 0 },
      { learningRate: Infinity },
      { beta1: 1 },
      { beta2: -0.1 },
      { epsilon: NaN },
      { clipNorm: 0 },
      { averageDecay: 1 },
      { rateFactors: { 'embed*': -1 } },
      { noDecay: ['*bias'] },
      { learningRate: { name: 'cosine', from: 1e-3 } },
      { learningRate: { name: 'exponential', from: 1e-3, steps: 10 } },
    ]) {
      expect(optimizerSchema.safeParse({ name: 'adam', ...wrong }).success, JSON.stringify(wrong)).toBe(false);
    }
  });
});
