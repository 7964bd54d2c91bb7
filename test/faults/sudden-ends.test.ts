/** Processes that end without a word: the others notice, say who and why, and nothing is left behind. */
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { errorLines, lockstepDone, LockstepProcess } from '../support/lockstep-command.js';
import { allEnded, isRunning } from '../support/process-end.js';
import { runningStatus } from '../support/run-status.js';
import { checkpointFiles, readSummary } from '../support/run-files.js';

/** Far more steps than fit into the test. */
const endless = ['--set', 'epochs=1000000', '--set', 'checkpointsKept=2'];

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

test('a worker that is killed ends the run, which says who, why, and where the last checkpoint is', async () => {
  const files = ['--run-dir', folder.at('killed'), '--summary', folder.at('killed.json')];
  const run = LockstepProcess.start(['train', 'test/e2e/fixtures/points.ts', '--workers', '3', ...endless, ...files]);
  await run.line(/^epoch 1:/); // a checkpoint comes with it
  const { workers } = await runningStatus(folder.at('killed'), ({ checkpoint }) => checkpoint !== null);
  const victim = workers.find(({ workerId }) => workerId === 'w1');
  process.kill(victim?.pid ?? NaN, 'SIGKILL');

  const ended = await run.ended;
  expect(ended.exitCode).toBe(1);
  const [error = '', ...more] = errorLines(ended);
  expect(more).toEqual([]);
  expect(error).toMatch(/^Worker w1 \(rank 1, pid \d+ on .+\) is lost after step \d+: it was killed by SIGKILL\./);
  expect(error).toContain(`pid ${victim?.pid ?? ''} `);
  expect(error).toMatch(/--resume.*\[ERR_WORKER_LOST\]$/);

  const summary = readSummary(folder.at('killed.json'));
  expect(summary).toMatchObject({ ok: false, error: { code: 'ERR_WORKER_LOST' }, weightsSha256: null });
  expect(error).toContain(`The last checkpoint is ${summary.checkpoint ?? '-'} `);
  expect(existsSync(summary.checkpoint ?? '')).toBe(true);
  await allEnded(workers.map(({ pid }) => pid));
});

test('a worker that is killed before the first step ends the run too', async () => {
  const files = ['--run-dir', folder.at('early'), '--summary', folder.at('early.json')];
  const run = LockstepProcess.start(['train', 'test/faults/fixtures/never-reads.ts', '--workers', '2', ...files]);
  await run.line(/coordinator at ws:/);
  const { workers } = await runningStatus(folder.at('early'), (status) => status.workers.length === 2);
  process.kill(workers[0]?.pid ?? NaN, 'SIGKILL');
  const ended = await run.ended;
  expect(ended.exitCode).toBe(1);
  expect(errorLines(ended)).toEqual([
    expect.stringMatching(/^Worker w\d .*it was killed by SIGKILL.*There is no checkpoint yet.*\[ERR_WORKER_LOST\]$/),
  ]);
  await allEnded(workers.map(({ pid }) => pid));
});

test('workers of a coordinator that is killed end by themselves, and say so', async () => {
  const args = ['test/e2e/fixtures/points.ts', '--workers', '2', ...endless, '--run-dir', folder.at('orphans')];
  const coordinator = LockstepProcess.start(['coordinator', ...args]);
  const [, url = '', token = ''] = await coordinator.line(/--join (\S+) --token-file (\S+)/);
  const workers = ['a', 'b'].map((id) =>
    LockstepProcess.start(['worker', '--join', url, '--token-file', token, '--id', id]),
  );
  await coordinator.line(/^step \d+ of/);
  coordinator.signal('SIGKILL');

  expect(await coordinator.ended).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
  for (const { ended } of workers) {
    const { exitCode, stderr } = await ended;
    expect(errorLines({ stderr })).toEqual([expect.stringMatching(/coordinator is gone.*\[ERR_COORDINATOR_LOST\]$/)]);
    expect(exitCode).toBe(1);
  }
});

test('a train command that is killed takes its workers with it, and the run goes on from its checkpoint', async () => {
  const args = ['train', 'test/e2e/fixtures/points.ts', '--workers', '2', '--run-dir', folder.at('resumed')];
  const run = LockstepProcess.start([...args, ...endless]);
  await run.line(/^epoch 1:/);
  const { workers } = await runningStatus(folder.at('resumed'), ({ checkpoint }) => checkpoint !== null);
  run.signal('SIGKILL');
  await run.ended;
  await allEnded(workers.map(({ pid }) => pid));
  const step = Number(/\d+/.exec(checkpointFiles(folder.at('resumed')).at(-1) ?? '')?.[0]);
  const summary = folder.at('resumed.json');
  await lockstepDone([...args, '--resume', '--steps', String(step + 5), ...endless, '--summary', summary]);
  expect(readSummary(summary)).toMatchObject({ ok: true, steps: step + 5 });
});

test('the second Ctrl-C ends a run that hangs at once, and leaves no process', async () => {
  const files = ['--run-dir', folder.at('hangs'), '--summary', folder.at('hangs.json')];
  const run = LockstepProcess.start(['train', 'test/faults/fixtures/hangs.ts', '--workers', '2', ...files]);
  await run.line(/^step 1 of/);
  const { workers } = await runningStatus(folder.at('hangs'), (status) => status.workers.length === 2);
  run.signal('SIGINT');
  await run.line(/^Stopping after this step; press Ctrl-C again to exit at once\.$/);
  expect(workers.filter(({ pid }) => isRunning(pid))).toHaveLength(2);
  run.signal('SIGINT');
  expect(await run.ended).toMatchObject({ exitCode: 130, signal: null });
  await allEnded(workers.map(({ pid }) => pid));
  expect(readSummary(folder.at('hangs.json'))).toMatchObject({ ok: false, steps: 1 });
});
