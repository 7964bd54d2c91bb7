/** What a soak does, and what it says of it. */
import { expect, it } from 'vitest';
import { refuseImpossible } from '../../bin/chaos.js';
import { planRound, slots } from '../soak/plan.js';
import { describe as linesOf, makeReport, type RoundReport } from '../soak/report.js';

const about = { startedAt: 'then', seed: 1, minutes: 2, node: 'v20' };

const recovery = (detectedMs: number): RoundReport['recoveries'][number] => ({
  ...{ kind: 'silent', workerId: 'w1', why: '', step: 1, recomputedSlots: 1, redoneSteps: 0 },
  ...{ detectedMs, resumedMs: 2 * detectedMs },
});

it('a round has only faults that can come, and the same again by its seed', () => {
  for (let seed = 0; seed < 2_000; seed++) {
    const round = planRound(seed, 3);
    expect(planRound(seed, 3)).toEqual(round);
    const { faults, workers: numWorkers } = round;
    refuseImpossible({ faults, numWorkers, maxWorkers: undefined, runDir: 'run' }, slots);
  }
});

it('all kinds of faults come, and all jobs', () => {
  const rounds = Array.from({ length: 200 }, (_, seed) => planRound(seed, 3));
  const kinds = new Set(rounds.flatMap(({ faults }) => faults.map(({ kind }) => kind)));
  expect([...kinds].toSorted()).toEqual(['coordinator', 'delay', 'join', 'kill', 'partition', 'stop']);
  expect(new Set(rounds.map(({ job }) => job)).size).toBe(2);
});

it('the report has the times of recoveries by kind, by nearest rank, and names what failed', () => {
  const round = { ...planRound(3, 3), seconds: 1, weightsSha256: 'abc', injected: [], failures: [], kept: null };
  const times = Array.from({ length: 100 }, (_, i) => i + 1);
  const bad = { failures: ['weights x, and y without faults'], kept: { folder: 'runs/s', command: 'npm run soak' } };
  const report = makeReport(about, [
    { ...round, recoveries: times.map(recovery) },
    { ...round, ...bad, seed: 17, recoveries: [] },
  ]);
  expect(report.recoveries['silent']).toEqual({
    count: 100,
    detectedMs: { median: 50, p95: 95, max: 100 },
    resumedMs: { median: 100, p95: 190, max: 200 },
  });
  expect(report.numFailed).toBe(1);
  const lines = linesOf(report);
  expect(lines).toContain('seed 17: weights x, and y without faults');
  expect(lines.at(-1)).toBe('2 rounds in 2.0 minutes, 1 of them failed');
});
