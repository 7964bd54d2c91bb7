/** Which coordinator a worker follows. */
import { expect, it } from 'vitest';
import { isFollowed } from '../../src/membership/following.js';
import type { FromCoordinator, RunPlan } from '../../src/protocol/messages.js';

const plan: RunPlan = {
  ...{ runId: 'r', term: 3, runDir: '/r', runDirMark: null, jobPath: '/j', overrides: [], slots: 2, threads: 1 },
  ...{ steps: null, resumeFrom: null, served: null, heartbeatMs: 100 },
};
const welcome = (changes: Partial<RunPlan>): FromCoordinator => ({ type: 'welcome', plan: { ...plan, ...changes } });
const abort: FromCoordinator = { type: 'abort', failure: { code: 'ERR_WORKER_LOST', message: 'gone on', step: null } };

it.each([
  ['the one that it was', welcome({}), true],
  ['a newer one', welcome({ term: 4 }), true],
  ['one of the past, and does not follow it', welcome({ term: 2 }), false],
  ['one of another run, and does not follow it', welcome({ runId: 'other', term: 9 }), false],
  ['one that has gone on without it', abort, true],
  ['one that answers something else, and does not follow it', { type: 'drain' } as const, false],
])('a worker meets %s', (_who, answer, followed) => {
  expect(isFollowed(answer, plan)).toBe(followed);
});
