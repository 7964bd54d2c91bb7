/** Whatever becomes of a run while it writes a checkpoint, and of the file afterwards, it goes on to the same bits. */
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { lockstepDone, LockstepProcess } from '../support/lockstep-command.js';
import { allEnded, standStill } from '../support/process-end.js';
import { checkpointFiles, readSummary } from '../support/run-files.js';
import { runningStatus } from '../support/run-status.js';

const job = 'test/faults/fixtures/wide.ts';
const pollMs = 1;

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

/** The names in the folder when the processes were stopped in the midst of a file; the test's own timeout ends a wait that is in vain. */
async function namesAmidWrite(pids: readonly number[], path: string): Promise<readonly string[]> {
  const isAmid = (): boolean => readdirSync(path).some((name) => name.startsWith('.tmp-step-'));
  for (;;) {
    while (!isAmid()) await delay(pollMs);
    await standStill(pids);
    if (isAmid()) return readdirSync(path).toSorted();
    for (const pid of pids) process.kill(pid, 'SIGCONT'); // it was done before they stood
  }
}

async function train(name: string, steps: number, ...more: readonly string[]) {
  const files = ['--run-dir', folder.at(name), '--summary', folder.at(`${name}.json`)];
  const ended = await lockstepDone(['train', job, '--steps', String(steps), ...files, ...more]);
  return { ended, summary: readSummary(folder.at(`${name}.json`)) };
}

test('a run that is killed while it writes a checkpoint goes on from the one before', async () => {
  const args = ['train', job, '--workers', '2', '--run-dir', folder.at('killed'), '--epochs', '1000'];
  const run = LockstepProcess.start(args);
  await run.line(/coordinator at ws:/);
  const { workers } = await runningStatus(folder.at('killed'), ({ checkpoint }) => checkpoint !== null);
  const pids = [run.pid, ...workers.map(({ pid }) => pid)];
  const left = await namesAmidWrite(pids, folder.at('killed', 'checkpoints'));
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  await run.ended;
  await allEnded(pids);

  const step = Number(/\d+/.exec(left.findLast((name) => name.startsWith('step-')) ?? '')?.[0]);
  const { summary } = await train('killed', step + 3, '--workers', '1', '--resume');
  const undisturbed = await train('undisturbed', step + 3, '--workers', '2', '--set', 'checkpointEverySteps=1000');
  expect(summary).toMatchObject({ steps: step + 3, weightsSha256: undisturbed.summary.weightsSha256 });
  expect(checkpointFiles(folder.at('killed')).filter((name) => name.startsWith('.tmp-'))).toEqual([]);
});

test('damaged checkpoints are named and passed over, and the run has the bits of one that never stopped', async () => {
  const { summary: whole } = await train('damaged', 5, '--workers', '1', '--set', 'checkpointsKept=3');
  const [third, fourth, fifth] = checkpointFiles(folder.at('damaged'));
  expect([third, fourth, fifth]).toEqual([3, 4, 5].map((step) => `step-0000000${step}.safetensors`));
  const pathOf = (name = '') => folder.at('damaged', 'checkpoints', name);
  truncateSync(pathOf(fifth), 1_000_000);
  const bytes = readFileSync(pathOf(fourth));
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 4;
  writeFileSync(pathOf(fourth), bytes);

  const { ended, summary } = await train('damaged', 5, '--workers', '2', '--resume');
  const warnings = ended.stderr.filter((line) => line.includes('passed over'));
  expect(warnings).toEqual([
    expect.stringMatching(/step-00000003.safetensors is used instead: .*step-00000005.safetensors is not a whole/),
    expect.stringMatching(/step-00000003.safetensors is used instead: .*step-00000004.safetensors is damaged.*moment/),
  ]);
  expect(summary).toMatchObject({ steps: 5, weightsSha256: whole.weightsSha256 });
});

test('a checkpoint is written when so many seconds have passed', async () => {
  const often = ['--set', 'checkpointEverySeconds=0.01', '--set', 'checkpointEverySteps=1000000'];
  await train('timed', 11, '--workers', '2', ...often, '--set', 'checkpointsKept=100');
  const files = checkpointFiles(folder.at('timed'));
  expect(files.length).toBeGreaterThan(1); // the last step's alone without it: the epoch has not ended
  expect(files.at(-1)).toBe('step-00000011.safetensors');
});
