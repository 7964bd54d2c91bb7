/** What the table of the benchmarks makes of samples. */
import { describe, expect, test } from 'vitest';
import { median } from '../../bench/statistics.js';
import { rowsOf, runSuite, type Figures, type RowPlan, type Side } from '../../bench/suite.js';
import { textTable } from '../../bench/table.js';

const silent = { say: () => undefined, onFailure: () => undefined };

/** A side that gives these figures in turn. */
function sideOf(name: string, values: readonly (number | null)[], log: string[] = []): Side {
  const left = [...values];
  const measure = async (): Promise<Figures | null> => {
    log.push(name);
    const value = left.shift() ?? null;
    return value === null ? null : { rate: value };
  };
  return { name, measure };
}

const faster: RowPlan = {
  name: 'training',
  unit: 'samples/s',
  ours: { side: 'ours', figure: 'rate' },
  peer: { side: 'peer', figure: 'rate' },
  better: 'higher',
  target: 2,
};

async function rowOf(plan: RowPlan, ours: number[], peer: (number | null)[]) {
  const suite = { name: 'suite', sides: [sideOf('ours', ours), sideOf('peer', peer)], rows: [plan] };
  return rowsOf(suite, await runSuite(suite, { rounds: ours.length, ...silent }));
}

test('sides are measured in turn, and one that cannot be had is asked once', async () => {
  const log: string[] = [];
  const sides = [sideOf('a', [1, 2, 3], log), sideOf('b', [null], log), sideOf('c', [7, 8, 9], log)];
  const samples = await runSuite({ name: 'suite', sides, rows: [] }, { rounds: 3, ...silent });
  expect(log).toEqual(['a', 'b', 'c', 'a', 'c', 'a', 'c']);
  expect(samples.map(({ side, round, figures }) => `${side}${round} ${figures['rate'] ?? ''}`)).toEqual([
    'a1 1',
    'c1 7',
    'a2 2',
    'c2 8',
    'a3 3',
    'c3 9',
  ]);
});

describe('a row', () => {
  test('has the ratio of the medians, and the spread of the ratios of the rounds', async () => {
    expect(await rowOf(faster, [10, 30, 20], [10, 10, 5])).toMatchObject([
      { ours: 20, peer: 10, ratio: 2, spread: { min: 1, max: 4 }, met: true },
    ]);
  });

  test('counts how many times less, where less is better', async () => {
    const plan = { ...faster, unit: 'µs', better: 'lower', target: 10 } as const;
    expect(await rowOf(plan, [4], [20])).toMatchObject([{ ratio: 5, met: false }]);
  });

  test('without a peer is held to its target itself', async () => {
    const plan = { ...faster, peer: null, better: 'lower', target: 26 } as const;
    expect(await rowOf(plan, [25, 27, 26], [])).toMatchObject([
      { ours: 26, ratio: null, spread: { min: 25, max: 27 }, met: true },
    ]);
  });

  test('is left out where the peer is', async () => {
    expect(await rowOf(faster, [1], [null])).toEqual([]);
  });
});

test('the table has a line for each row, with its verdict', async () => {
  const [heading = '', line = ''] = textTable(await rowOf(faster, [12345], [10000]));
  expect(heading.trim().split(/ {2,}/)).toEqual(['ours', 'peer', 'ratio', 'spread', 'target']);
  expect(line.split(/ {2,}/)).toEqual([
    'training',
    '12,300 samples/s',
    '10,000 (peer)',
    '1.23×',
    '1.23–1.23×',
    '≥ 2×',
    'below',
  ]);
});

test('the median is the middle value, or the mean of the two in the middle', () => {
  expect([median([3, 1, 2]), median([4, 1, 3, 2]), median([])]).toEqual([2, 2.5, NaN]);
});

test('a side that fails is told of, and asked once; what the others gave is kept', async () => {
  const log: string[] = [];
  const failed: unknown[] = [];
  const failing: Side = {
    name: 'b',
    measure: () => {
      log.push('b');
      return Promise.reject(new Error('no step within 120 s'));
    },
  };
  const sides = [sideOf('a', [1, 2], log), failing];
  const onFailure = (...told: unknown[]): unknown => failed.push(told);
  const samples = await runSuite({ name: 'suite', sides, rows: [] }, { ...silent, rounds: 2, onFailure });
  expect(log).toEqual(['a', 'b', 'a']);
  expect(failed).toEqual([['b', new Error('no step within 120 s')]]);
  expect(samples.map(({ side }) => side)).toEqual(['a', 'a']);
});
