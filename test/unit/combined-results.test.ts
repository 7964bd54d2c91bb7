import { describe, expect, it } from 'vitest';
import { combine, sourcesOf } from '../../bench/combine.js';
import type { Result } from '../../bench/result.js';

const configuration = {
  ...{
    cpu: 'a',
    cores: 2,
    memoryBytes: 1,
    kernel: 'k',
    system: null,
    node: '20',
    lockstep: '0',
    commit: 'c',
    engine: 'e',
  },
  ...{ peers: {}, load: 0, rounds: 1, seconds: 1 },
};

/** Each suite with a row and a sample of one figure. */
function resultOf(suites: Readonly<Record<string, number>>): Result {
  const of = Object.entries(suites);
  return {
    date: '2026-11-28T00:00:00Z',
    configuration,
    rows: of.map(([suite, ours]) => ({
      ...{
        suite,
        name: suite,
        unit: 'ms',
        ours,
        peer: null,
        peerName: null,
        ratio: null,
        spread: { min: ours, max: ours },
      },
      ...{ better: 'lower', target: null, met: null },
    })),
    samples: of.map(([suite, ms]) => ({ suite, side: 'ours', round: 1, figures: { ms } })),
    skipped: [],
  };
}

describe('several results', () => {
  const results = [
    { path: 'old', result: resultOf({ a: 1, b: 2, c: 3 }) },
    { path: 'newer', result: resultOf({ b: 20 }) },
    { path: 'none', result: resultOf({ d: 4 }) },
    { path: 'newest', result: resultOf({ d: 40, c: 30 }) },
  ];

  it('give each suite from the last that has it, and name those that count', () => {
    const sources = sourcesOf(results);
    expect(sources.map(({ path, suites }) => [path, suites])).toEqual([
      ['old', ['a']],
      ['newer', ['b']],
      ['newest', ['d', 'c']],
    ]);
    const { rows, samples } = combine(sources, ['a', 'b', 'c', 'd']);
    expect(rows.map(({ name, ours }) => [name, ours])).toEqual([
      ['a', 1],
      ['b', 20],
      ['c', 30],
      ['d', 40],
    ]);
    expect(samples.map(({ figures }) => figures['ms'])).toEqual([1, 20, 30, 40]);
  });
});
