import { expect, test } from 'vitest';
import { describeRecovery } from '../../bin/view.js';
import type { ToldRecovery } from '../../coordinator/run-record.js';

const recovery: ToldRecovery = {
  kind: 'lost',
  workerId: 'w1',
  pid: 17,
  why: 'it was killed by SIGKILL',
  step: 20,
  detectedMs: 0,
  resumedMs: 3,
  recomputedSlots: 1,
  redoneSteps: 0,
  numWorkers: 3,
};

test.each<[Partial<ToldRecovery>, string]>([
  [{}, 'worker w1 is lost at step 20 (it was killed by SIGKILL): 3 workers go on with its slots'],
  [{ numWorkers: 1 }, 'worker w1 is lost at step 20 (it was killed by SIGKILL): one worker goes on with its slots'],
  [{ kind: 'joined' }, 'worker w1 has joined at step 20: 3 workers go on'],
  [{ kind: 'left', why: 'by wish' }, 'worker w1 has left at step 20 (by wish): 3 workers go on with its slots'],
  [
    { redoneSteps: 12 },
    'worker w1 is lost at step 20 (it was killed by SIGKILL): 3 workers go on with its slots; 12 steps are taken again from there',
  ],
])('%j is told in one line', (changes, line) => {
  expect(describeRecovery({ ...recovery, ...changes })).toBe(line);
});
