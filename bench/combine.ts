/** Several results as one: all topics at once take hours, and each may be measured again by itself. */
import type { Result } from './result.js';

/** A result, and what of it counts. */
export interface Source {
  readonly path: string;
  readonly result: Result;
  /** Suites, in their order. */
  readonly suites: readonly string[];
}

/** Of each suite the last result that has it counts. */
export function sourcesOf(results: readonly Omit<Source, 'suites'>[]): Source[] {
  const last = new Map(results.flatMap(({ path, result }) => suitesOf(result).map((suite) => [suite, path] as const)));
  const sources = results.map(({ path, result }) => {
    return { path, result, suites: suitesOf(result).filter((suite) => last.get(suite) === path) };
  });
  return sources.filter(({ suites }) => suites.length > 0);
}

/** Rows and samples, suites in the order in which the first result has them, new ones last. */
export function combine(sources: readonly Source[], order: readonly string[]): Pick<Result, 'rows' | 'samples'> {
  const of = (suite: string): Pick<Result, 'rows' | 'samples'> | undefined =>
    sources.find(({ suites }) => suites.includes(suite))?.result;
  return {
    rows: order.flatMap((suite) => of(suite)?.rows.filter((row) => row.suite === suite) ?? []),
    samples: order.flatMap((suite) => of(suite)?.samples.filter((sample) => sample.suite === suite) ?? []),
  };
}

export function suitesOf({ samples }: Pick<Result, 'samples'>): string[] {
  return [...new Set(samples.map(({ suite }) => suite))];
}
