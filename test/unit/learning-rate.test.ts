/** Schedules against PyTorch: test/golden/learning-rates/make.py has made what is expected. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  constantRate,
  cosineRate,
  learningRateSchema,
  linearRate,
  oneCycleRate,
  rateAt,
  steppedRate,
  type LearningRate,
} from '../../src/optimizer/learning-rate.js';

const golden = fileURLToPath(new URL('../golden/learning-rates/expected.json', import.meta.url));
const { rates } = z
  .object({ rates: z.record(z.string(), z.array(z.number())) })
  .parse(JSON.parse(readFileSync(golden, 'utf8')));

const schedules: Readonly<Record<string, LearningRate>> = {
  linear: linearRate(0.5, { steps: 10, to: 0.05 }),
  'linear after a warm-up': linearRate(0.3, { steps: 12, warmUpSteps: 4 }),
  cosine: cosineRate(0.2, { steps: 10, to: 0.01 }),
  'cosine after a warm-up': cosineRate(0.3, { steps: 12, warmUpSteps: 4 }),
  stepped: steppedRate(0.8, { everySteps: 3, factor: 0.5 }),
  'one cycle': oneCycleRate(0.1, { steps: 20 }),
  'one cycle with its own ends': oneCycleRate(0.1, { steps: 25, rise: 0.42, from: 0.01, to: 1e-4 }),
};

describe('the learning rate', () => {
  it.each(Object.entries(schedules))('that is %s is that of PyTorch', (name, schedule) => {
    const expected = rates[name] ?? [];
    expect(expected.length).toBeGreaterThan(10);
    for (const [step, rate] of expected.entries()) {
      expect(Math.abs(rateAt(schedule, step) - rate), `step ${step}`).toBeLessThanOrEqual(1e-14);
    }
  });

  it('has begun and ended with the numbers that were given, to the bit', () => {
    expect(rateAt(cosineRate(0.3, { steps: 12, to: 0.1 }), 0)).toBe(0.3);
    for (const schedule of [cosineRate, linearRate].map((make) => make(0.3, { steps: 12, to: 0.1 }))) {
      expect([12, 13, 1e9].map((step) => rateAt(schedule, step))).toEqual([0.1, 0.1, 0.1]);
    }
    const cycle = oneCycleRate(0.3, { steps: 10, rise: 0.5, from: 0.03, to: 0.003 });
    expect([4, 9, 10, 1e6].map((step) => rateAt(cycle, step))).toEqual([0.3, 0.003, 0.003, 0.003]);
  });

  it('rises in equal parts from 0 before any schedule', () => {
    expect([0, 1, 2, 3, 4, 5].map((step) => rateAt(constantRate(1, { warmUpSteps: 4 }), step))).toEqual([
      0, 0.25, 0.5, 0.75, 1, 1,
    ]);
    const stepped = steppedRate(1, { everySteps: 2, factor: 0.5, warmUpSteps: 2 });
    expect([0, 1, 2, 3, 4, 5, 6].map((step) => rateAt(stepped, step))).toEqual([0, 0.5, 1, 1, 0.5, 0.5, 0.25]);
  });

  it('is a number too', () => {
    expect([0, 1e6].map((step) => rateAt(0.125, step))).toEqual([0.125, 0.125]);
  });

  it('is plain data, the same after JSON', () => {
    for (const schedule of Object.values(schedules)) {
      expect(learningRateSchema.parse(JSON.parse(JSON.stringify(schedule)))).toEqual(schedule);
    }
  });
});
