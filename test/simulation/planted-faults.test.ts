/** The simulator can fail: each of these faults is found, in as many schedules as one of its tests has. */
import { describe, expect, it } from 'vitest';
import { check, perTest, timeoutMs, traceOf } from './run/check.js';
import { plantedFaults } from './run/planted-faults.js';
import { Violation } from './run/violation.js';

const setting = { family: 'everything', seed: 1, numRuns: perTest } as const;

describe('the simulator finds', () => {
  it.each(plantedFaults)(
    '%s',
    (name, parts) => {
      const family = name.includes('checkpoint') ? 'disks' : setting.family;
      const failure = check({ ...setting, family, parts, shrinks: false });
      expect(failure?.error).toBeInstanceOf(Violation);
    },
    timeoutMs,
  );
});

it(
  'a failure is shrunk, and the same again by its seed and path',
  () => {
    const parts = new Map(plantedFaults).get('a slot that nobody has');
    const failure = check({ ...setting, ...(parts && { parts }) });
    const [seed, path] = /--seed (\S+) --path (\S+)/.exec(failure?.command ?? '')?.slice(1) ?? [];
    const again = check({ ...setting, seed: Number(seed), numRuns: 1, path, ...(parts && { parts }) });
    expect(failure?.schedule.faults).toEqual([]);
    expect(again?.schedule).toEqual(failure?.schedule);
    expect(failure && traceOf(failure, parts).at(-1)).toContain('each slot once');
  },
  timeoutMs,
);
