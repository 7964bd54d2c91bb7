import { expect, test } from 'vitest';
import { describeRecovery } from '../../bin/view.js';
import type { Recovery } from '../../coordinator/membership-state.js';

const recovery: Recovery = {
  kind: 'lost',
  workerId: 'w1',
  pid: 17,
  why: 'it was killed by SIGKILL',
  step: 20,
  detectedMs: 0,
  resumedMs: 3,
  recomputedSlots: 1,
  numWorkers: 3,
};

test.each<[Partial<Recovery>, string]>([
  [{}, 'worker w1 is lost at step 20 (it was killed by SIGKILL): 3 workers go on with its slots'],
  [{ numWorkers: 1 }, 'worker w1 is lost at step 20 (it was killed by SIGKILL): one worker goes on with its slots'],
  [{ kind: 'joined' }, 'worker w1 has joined at step 20: 3 workers go on'],
  [{ kind: 'left', why: 'by wish' }, 'worker w1 has left at step 20 (by wish): 3 workers go on with its slots'],
])('%j is told in one line', (changes, line) => {
  expect(describeRecovery({ ...recovery, ...changes })).toBe(line);
});
