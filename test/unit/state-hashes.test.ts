import { expect, test } from 'vitest';
import { StateHashes } from '../../coordinator/state-hashes.js';

const workersOf = (...ids: string[]) => ids.map((workerId, i) => ({ workerId, host: `host-${workerId}`, pid: 10 + i }));
const abc = workersOf('a', 'b', 'c');

/** Tells the hashes of one step, by worker, and returns what follows of the last one. */
function tell(hashes: StateHashes, step: number, told: Record<string, string>, workers = abc): unknown[] {
  return Object.entries(told).flatMap(([workerId, hash]) => hashes.add(workerId, { step, hash }, workers));
}

test('nothing follows where all agree, or one has not told yet', () => {
  const hashes = new StateHashes();
  expect(tell(hashes, 5, { a: 'x', b: 'x', c: 'x' })).toEqual([]);
  expect(tell(hashes, 10, { a: 'x', b: 'y' })).toEqual([]);
});

test('one that differs from most is named, with what was found and when all agreed', () => {
  const hashes = new StateHashes();
  tell(hashes, 5, { a: 'x', b: 'x', c: 'x' });
  expect(tell(hashes, 10, { c: 'x', b: 'y', a: 'x' })).toEqual([
    {
      type: 'diverged',
      workerIds: ['b'],
      why: 'after step 10 its state is another than that of 2 others: y, not x. They agreed after step 5',
    },
  ]);
});

test.each([
  { what: 'two workers', told: { a: 'x', b: 'y' }, workers: abc.slice(0, 2) },
  { what: 'three of three kinds', told: { a: 'x', b: 'y', c: 'z' }, workers: abc },
  { what: 'two and two', told: { a: 'x', b: 'y', c: 'x', d: 'y' }, workers: workersOf('a', 'b', 'c', 'd') },
])('the run ends where none is that of most: $what', ({ told, workers }) => {
  const [verdict, ...more] = tell(new StateHashes(), 10, told, workers);
  expect(more).toEqual([]);
  expect(verdict).toMatchObject({ type: 'abandon', error: { code: 'ERR_STATE_DIVERGED' } });
  const { message } = (verdict as { error: Error }).error; // as matched
  for (const { workerId, host, pid } of workers) expect(message).toContain(`${workerId} (pid ${pid} on ${host})`);
});

test('a worker that is no longer there is not waited for, and one step ahead of the others mixes nothing up', () => {
  const hashes = new StateHashes();
  expect(tell(hashes, 10, { a: 'x', b: 'y', c: 'x' }, workersOf('a', 'b', 'c', 'd'))).toEqual([]);
  expect(tell(hashes, 11, { a: 'u' })).toEqual([]);
  expect(tell(hashes, 10, { a: 'x' }, abc)).toMatchObject([{ workerIds: ['b'] }]);
  expect(tell(hashes, 11, { b: 'u', c: 'u' })).toEqual([]);
});

test('steps that are taken again after the state was lost are compared again', () => {
  const hashes = new StateHashes();
  for (const step of [30, 31, 32]) tell(hashes, step, { a: 'x' });
  expect(tell(hashes, 20, { a: 'x', b: 'x', c: 'y' })).toMatchObject([{ workerIds: ['c'] }]);
});
