/** What the benchmark of recovery makes of the records of a run whose worker w1 got a signal at 1000. */
import { describe, expect, test } from 'vitest';
import { quantile } from '../../bin/bench/quantiles.js';
import { recoveryTimes } from '../../bin/bench/recovery-times.js';
import { stepColumns, type CoordinatorEvent, type WorkerFlight } from '../../src/flight/records.js';

type Step = Partial<Record<(typeof stepColumns)[number], number>>;

function flightOf(workerId: string, steps: readonly Step[]): WorkerFlight {
  return {
    ...{ version: 1, runId: 'r', workerId, host: 'h', pid: 1, generation: 2, writtenMs: 9000, events: [], frames: '' },
    steps: steps.map((step) => stepColumns.map((column) => step[column] ?? 0)),
  };
}

let numEvents = 0;
const event = (atMs: number, kind: string, generation: number, text = ''): CoordinatorEvent => {
  return { number: numEvents++, atMs, kind, generation, text, runId: 'r', host: 'h', pid: 2 };
};

/** Before the fault, in generation 1: 20 ms to compute. */
const usual: Step[] = [1, 2, 3].map((step) => ({ step, generation: 1, data: 1, compute: 19 }));
const coordinator = [
  event(500, 'lost', 0, 'w1: another one of that name'),
  event(1005, 'lost', 1, 'w1: its connection closed'),
  event(1006, 'halt', 2),
  event(1020, 'generation', 2),
  event(1050, 'start', 2),
  event(3000, 'generation', 3),
  event(3010, 'start', 3),
];
/** Takes the slot of w1: begins at 1055, has its gradients at 1085. */
const busy: Step = {
  step: 4,
  generation: 2,
  begunMs: 1055,
  data: 2,
  compute: 28,
  network: 6,
  optimizer: 3,
  waiting: 1,
};
/** Has nothing to compute, waits for w0, and commits last. */
const idle: Step = { step: 4, generation: 2, begunMs: 1052, network: 35, optimizer: 8, waiting: 5 };
const later: Step = { step: 5, generation: 2, begunMs: 1100, compute: 20 };
const survivors = [flightOf('w0', [...usual, busy, later]), flightOf('w2', [...usual, idle, later])];

describe('the time until the next step is committed', () => {
  test('is that of the last worker to commit it, in parts that add up', () => {
    const times = recoveryTimes('w1', 1000, { survivors, coordinator });
    expect(times).toEqual({
      ...{ noticed: 5, formed: 15, started: 30, begun: 5, recomputed: 30, committed: 15, total: 100 },
      ...{ recomputation: 20, less: 80 },
    });
  });

  test('is told less what was computed again, where that took less than a usual step', () => {
    const quick = { ...busy, data: 0, compute: 12 };
    const records = { survivors: [flightOf('w0', [...usual, quick])], coordinator };
    expect(recoveryTimes('w1', 1000, records)).toMatchObject({ recomputed: 12, recomputation: 12 });
  });

  test('counts from an eviction too', () => {
    const evicted = coordinator.map((one) => (one.atMs === 1005 ? { ...one, kind: 'evict' } : one));
    expect(recoveryTimes('w1', 1000, { survivors, coordinator: evicted })).toMatchObject({ noticed: 5 });
  });

  test.each([
    ['the loss is of another worker', 'w3', survivors, coordinator],
    ['the generation has not started', 'w1', survivors, coordinator.slice(0, 4)],
    ['a worker has not written down its first step', 'w1', [...survivors, flightOf('w3', usual)], coordinator],
    ['a worker has forgotten its first step', 'w1', [flightOf('w0', [busy]), flightOf('w2', [later])], coordinator],
    ['nobody has written', 'w1', [], coordinator],
  ])('is not known where %s', (_, workerId, flights, events) => {
    expect(recoveryTimes(workerId, 1000, { survivors: flights, coordinator: events })).toBeNull();
  });
});

test('a quantile is a value that was measured', () => {
  const values = Array.from({ length: 30 }, (_, index) => 30 - index);
  expect([quantile(values, 0.5), quantile(values, 0.95), quantile([7], 0.95)]).toEqual([15, 29, 7]);
});
