import { describe, expect, it } from 'vitest';
import { grows, trendsOf } from '../../bench/endurance/trend.js';

const at = Array.from({ length: 50 }, (_, i) => (i + 1) * 10);
/** Up and down by so much, and once a collection that came too late. */
const noise = (amount: number) => (i: number) => ((i * 7919) % 13) * (amount / 13) + (i === 20 ? amount * 9 : 0);

function verdict(name: string, valueOf: (recoveries: number, index: number) => number): boolean {
  const [trend] = trendsOf(
    at.map((recoveries, i) => ({ [name]: valueOf(recoveries, i) })),
    at,
  );
  return trend !== undefined && grows(trend, 500);
}

describe('what is sampled over hundreds of recoveries', () => {
  it('is flat where memory goes up and down', () => {
    const wobble = noise(5e6);
    expect(verdict('heapBytes', (_, i) => 4e7 + wobble(i))).toBe(false);
  });

  it('grows where each recovery leaves ten kilobytes in forty megabytes that go up and down', () => {
    const wobble = noise(5e6);
    expect(verdict('heapBytes', (recoveries, i) => 4e7 + recoveries * 10_000 + wobble(i))).toBe(true);
  });

  it('grows where one file in a hundred recoveries stays open', () => {
    expect(verdict('files', (recoveries) => 40 + Math.floor(recoveries / 100))).toBe(true);
  });

  it('is flat where as many files are open as at first', () => {
    expect(verdict('files', (_, i) => 40 + (i % 3 === 0 ? 1 : 0))).toBe(false);
  });

  it('is flat where a file happens to be open at the last samples', () => {
    expect(verdict('files', (_, i) => (i > 44 ? 41 : 40))).toBe(false);
  });
});
