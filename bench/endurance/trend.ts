/** Whether a number grows over many samples. */
import { median } from '../statistics.js';

export interface Trend {
  readonly name: string;
  /** Medians of the first and of the last tenth of the samples. */
  readonly first: number;
  readonly last: number;
  /** For each unit of `at`: the median of the slopes between any two samples (Theil, Sen), which single outliers do not move. */
  readonly slope: number;
}

/** Of the numbers that every sample has. @param at when each sample was taken, such as the number of recoveries by then */
export function trendsOf(samples: readonly Readonly<Record<string, number>>[], at: readonly number[]): Trend[] {
  const names = Object.keys(samples[0] ?? {}).filter((name) => samples.every((sample) => name in sample));
  const tenth = Math.max(1, Math.floor(samples.length / 10));
  return names.map((name) => {
    const values = samples.map((sample) => sample[name] ?? NaN);
    const first = median(values.slice(0, tenth));
    return { name, first, last: median(values.slice(-tenth)), slope: slopeOf(values, at) };
  });
}

/** A heap settles within this part of itself; what leaks with every recovery is past it after hundreds. */
const settles = 0.05;

/** Whether it goes up by more than it may: memory by a part of itself, what is counted by less than one. */
export function grows({ name, first, slope }: Trend, numUnits: number): boolean {
  const gained = slope * numUnits;
  return /bytes|mappings/i.test(name) ? gained > first * settles : gained >= 1;
}

function slopeOf(values: readonly number[], at: readonly number[]): number {
  const slopes = values.flatMap((value, i) =>
    values.slice(i + 1).map((later, j) => (later - value) / ((at[i + 1 + j] ?? NaN) - (at[i] ?? NaN))),
  );
  return slopes.length === 0 ? 0 : median(slopes);
}
