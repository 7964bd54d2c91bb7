/** The simulator can fail: each of these faults is found, in as many schedules as one of its tests has. */
import { describe, expect, it } from 'vitest';
import { check, perTest, timeoutMs, traceOf } from './run/check.js';
import { plantedFaults } from './run/planted-faults.js';
import { Violation } from './run/violation.js';

const setting = { seed: 1, numRuns: perTest } as const;

describe('the simulator finds', () => {
  it.each(plantedFaults)(
    '%s',
    (_name, parts, family) => {
      const failure = check({ ...setting, family, parts, shrinks: false });
      expect(failure?.error).toBeInstanceOf(Violation);
    },
    timeoutMs,
  );
});

it(
  'a failure is shrunk, and the same again by its seed and path',
  () => {
    const [, parts, family] = plantedFaults.find(([name]) => name === 'a slot that nobody has') ?? [];
    const planted = { family: family ?? 'everything', ...(parts && { parts }) };
    const failure = check({ ...setting, ...planted });
    const [seed, path] = /--seed (\S+) --path (\S+)/.exec(failure?.command ?? '')?.slice(1) ?? [];
    const again = check({ seed: Number(seed), numRuns: 1, path, ...planted });
    expect(failure?.schedule.faults).toEqual([]);
    expect(again?.schedule).toEqual(failure?.schedule);
    expect(failure && traceOf(failure, parts).at(-1)).toContain('each slot once');
  },
  timeoutMs,
);
