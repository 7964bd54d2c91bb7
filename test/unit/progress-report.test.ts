/** Who tells of which steps, from one generation to the next. */
import { expect, test } from 'vitest';
import type { FromWorker, StepRecord } from '../../src/protocol/messages.js';
import { makeSharedSteps, StepRing } from '../../src/flight/step-ring.js';
import { makeCommTimes } from '../../worker/comm/comm-times.js';
import { ProgressReport, tellerOf } from '../../worker/progress-report.js';
import { StepTimes } from '../../worker/step-times.js';

const addresses = { hostId: 'h', unixPath: '/a', tcp: [] };
const entry = { host: 'h', firstSlot: 0, endSlot: 1, addresses };

const record = (step: number): StepRecord => ({ step, loss: step / 10, metrics: [] });

class Worker {
  readonly told: number[][] = [];
  readonly report = new ProgressReport(
    (message: FromWorker) => {
      if (message.type === 'progress') this.told.push(message.records.map(({ step }) => step));
    },
    new StepTimes(makeCommTimes(), new StepRing(makeSharedSteps())),
  );

  take(...steps: readonly number[]): void {
    for (const step of steps) this.report.add(record(step));
  }
}

test.each([
  ['rank 0, where all have taken the last step', [7, 7, 7], 0],
  ['the first that has the state, where those before it lack it', [null, 6, 7, 7], 2],
  ['rank 0, where nobody has it', [null, null], 0],
])('the teller of a generation is %s', (_who, held, rank) => {
  const workers = held.map((step, index) => ({ ...entry, workerId: `w${index}`, rank: index, step }));
  expect(tellerOf({ workers, step: 7 })).toBe(rank);
});

test('the teller tells of each step once', () => {
  const worker = new Worker();
  worker.report.enter(0, { isTeller: true, told: 0 });
  worker.take(1, 2, 3);
  worker.report.flush();
  worker.report.flush();
  expect(worker.told.flat()).toEqual([1, 2, 3]);
});

test('the first of those that are left tells again what it has, in case that the one before died with it', () => {
  const worker = new Worker();
  worker.report.enter(0, { isTeller: false, told: 0 });
  worker.take(1, 2, 3);
  expect(worker.told).toEqual([]);
  worker.report.enter(3, { isTeller: true, told: 0 });
  worker.take(4);
  worker.report.flush();
  expect(worker.told.flat()).toEqual([1, 2, 3, 4]);
});

test('one in whose place another tells is silent: of two connections one overtakes the other', () => {
  const worker = new Worker();
  worker.report.enter(0, { isTeller: true, told: 0 });
  worker.take(1, 2, 3);
  worker.report.enter(3, { isTeller: false, told: 1 });
  worker.take(4);
  worker.report.flush();
  expect(worker.told.flat()).toEqual([1]);
});

test('one that leaves tells what it has, though another tells', () => {
  const worker = new Worker();
  worker.report.enter(0, { isTeller: false, told: 0 });
  worker.take(1, 2, 3);
  worker.report.leave();
  worker.take(4);
  worker.report.flush();
  expect(worker.told).toEqual([[1, 2, 3], [4]]);
});

test('what it has left to another one, which has died since, it tells when it is its turn again', () => {
  const worker = new Worker();
  worker.report.enter(0, { isTeller: true, told: 0 });
  worker.take(1, 2);
  worker.report.enter(2, { isTeller: false, told: 0 });
  worker.report.enter(2, { isTeller: true, told: 0 });
  expect(worker.told).toEqual([[1], [1, 2]]);
});

test('steps that are taken again, as all state was lost, are told again', () => {
  const worker = new Worker();
  worker.report.enter(0, { isTeller: true, told: 0 });
  worker.take(1, 2, 3);
  worker.report.flush();
  worker.report.enter(1, { isTeller: true, told: 3 });
  worker.take(2);
  worker.report.flush();
  expect(worker.told.flat()).toEqual([1, 2, 3, 2]);
});

test('what the coordinator knows is not told again, and the rest in messages of 1000', () => {
  const worker = new Worker();
  worker.report.enter(0, { isTeller: false, told: 0 });
  worker.take(...Array.from({ length: 3500 }, (_, i) => i + 1));
  worker.report.enter(3500, { isTeller: true, told: 1200 });
  expect(worker.told.map((steps) => [steps[0], steps.at(-1)])).toEqual([
    [1201, 2200],
    [2201, 3200],
    [3201, 3500],
  ]);
});

test('the last 20000 are kept at least', () => {
  const worker = new Worker();
  worker.report.enter(0, { isTeller: false, told: 0 });
  worker.take(...Array.from({ length: 70_000 }, (_, i) => i + 1));
  worker.report.enter(70_000, { isTeller: true, told: 0 });
  expect(worker.told[0]?.[0]).toBeLessThanOrEqual(50_001);
  expect(worker.told.flat().at(-1)).toBe(70_000);
});
