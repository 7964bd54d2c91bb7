/** Bits that flip in one worker's weights: the others notice, say whose, and go on without it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { JobFolder } from '../support/job-folder.js';
import { errorLines, lockstep, lockstepDone } from '../support/lockstep-command.js';
import { readSummary } from '../support/run-files.js';

const job = 'test/faults/fixtures/flips.ts';
const recoverySchema = z.looseObject({ kind: z.string(), workerId: z.string(), why: z.string(), step: z.int() });

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

const filesOf = (name: string) => ['--run-dir', folder.at(name), '--summary', folder.at(`${name}.json`)];

test('of three workers the one that differs is named and evicted, and the run ends with one state', async () => {
  await lockstepDone(['train', job, '--workers', '3', '--steps', '40', ...filesOf('three')]);
  const summary = readSummary(folder.at('three.json'));
  expect(summary).toMatchObject({ ok: true, steps: 40 });
  const [first] = z.array(recoverySchema).parse(summary.recoveries);
  expect(first).toMatchObject({ kind: 'diverged', workerId: 'w1' });
  expect(first?.why).toMatch(/^after step 10 its state is another than that of 2 others.*They agreed after step 5$/);
});

test('of two workers nobody knows which is right: the run ends, and names both and the last checkpoint', async () => {
  const sets = ['--set', 'checkpointEverySteps=4'];
  const ended = await lockstep(['train', job, '--workers', '2', '--steps', '40', ...sets, ...filesOf('two')]);
  expect(ended.exitCode).toBe(1);
  const [error = '', ...more] = errorLines(ended);
  expect(more).toEqual([]);
  expect(error).toMatch(/^After step 10 .*w0 \(pid \d+ on .*w1 \(pid \d+ on .*They agreed after step 5/);
  expect(error).toMatch(/The last checkpoint is .*--resume.*\[ERR_STATE_DIVERGED\]$/);
});
