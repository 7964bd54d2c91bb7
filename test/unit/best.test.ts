import { describe, expect, it } from 'vitest';
import { bestSchema, hasWaited, judge, misfitOfBest, noValidation, type Standing } from '../../src/job/best.js';
import { metricNames } from '../../worker/compute/objective.js';

const standings = (config: Parameters<typeof bestSchema.parse>[0], values: readonly number[]): Standing[] => {
  let standing = noValidation;
  return values.map((value) => (standing = judge(bestSchema.parse(config), standing, value)));
};

describe('the best validation', () => {
  it('is the smallest of losses and the largest of accuracies', () => {
    expect(standings({ metric: 'val_loss' }, [3, 2, 2, 4, 1])).toEqual([
      { best: 3, count: 1 },
      { best: 2, count: 1 },
      { best: 2, count: 2 },
      { best: 2, count: 3 },
      { best: 1, count: 1 },
    ]);
    expect(standings({ metric: 'val_accuracy' }, [0.5, 0.75, 0.5]).at(-1)).toEqual({ best: 0.75, count: 2 });
    expect(standings({ metric: 'val_accuracy', mode: 'min' }, [0.5, 0.75, 0.5]).at(-1)).toEqual({
      best: 0.5,
      count: 3,
    });
  });

  it.each([...metricNames])('is known of the metric %s: a larger one only of accuracies and precision', (name) => {
    expect(misfitOfBest(bestSchema.parse({ metric: `val_${name}` }), [name])).toBe(null);
    const isLarger = ['acc', 'precision'].includes(name) || /accuracy$/i.test(name);
    expect(standings({ metric: `val_${name}` }, [1, 2]).at(-1)?.best).toBe(isLarger ? 2 : 1);
  });

  it('is better by more than minDelta', () => {
    expect(standings({ metric: 'val_loss', minDelta: 0.5 }, [3, 2.5, 2.25]).map(({ count }) => count)).toEqual([
      1, 2, 1,
    ]);
  });

  it('is never NaN', () => {
    expect(standings({ metric: 'val_loss' }, [NaN, 2, NaN, 1])).toEqual([
      noValidation,
      { best: 2, count: 1 },
      { best: 2, count: 2 },
      { best: 1, count: 1 },
    ]);
  });

  it('is waited for so many validations', () => {
    const config = bestSchema.parse({ metric: 'val_loss', patience: 2 });
    expect([0, 1, 2, 3].map((count) => hasWaited(config, { best: 1, count }))).toEqual([false, false, false, true]);
    expect(hasWaited(bestSchema.parse({ metric: 'val_loss' }), { best: 1, count: 1e6 })).toBe(false);
  });
});
