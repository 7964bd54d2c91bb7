/** A run whose number of workers is changed while it trains: 1, 3, 1, and the bits of one that was left alone. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { errorLines, lockstep, lockstepDone, LockstepProcess } from '../support/lockstep-command.js';
import { readSummary } from '../support/run-files.js';
import { runningStatus } from '../support/run-status.js';

const settings = ['examples/digits/job.ts', '--set', 'slots=4', '--set', 'threads=1'];
/** Three times what it takes where nothing else runs. */
const timeoutMs = 180_000;

let folder: JobFolder;

beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

const trainInto = (name: string): string[] => [
  ...['train', ...settings, '--workers', '1'],
  ...['--run-dir', folder.at(name), '--summary', folder.at(`${name}.json`)],
];

const training = (numWorkers: number) => (status: { workers: readonly { state: string }[] }) => {
  const { workers } = status;
  return workers.length === numWorkers && workers.every(({ state }) => state === 'training');
};

test('from 1 to 3 workers and back, and the weights are the same', { timeout: timeoutMs }, async () => {
  // It lasts for as long as its workers take to come and go, and the other one for as many steps.
  const run = LockstepProcess.start([...trainInto('scaled'), '--max-workers', '3', '--epochs', '100000']);
  const runDir = folder.at('scaled');
  await run.line(/coordinator at ws:/);
  await runningStatus(runDir, training(1));
  const { stdout } = await lockstepDone(['scale', '3', '--run-dir', runDir]);
  expect(stdout).toEqual(['The run wants 3 worker(s) from now on, and wanted 1 before.']);
  const { workers } = await runningStatus(runDir, training(3));
  expect(workers.map(({ slots }) => slots?.[0]).toSorted()).toEqual([0, 1, 2]);
  const tooMany = await lockstep(['scale', '4', '--run-dir', runDir]);
  expect(tooMany.exitCode).toBe(2);
  expect(errorLines(tooMany)).toEqual([expect.stringContaining('--max-workers 3')]);
  await lockstepDone(['scale', '1', '--run-dir', runDir]);
  const after = await runningStatus(runDir, training(1));
  expect(after.workers).toMatchObject([{ workerId: 'w0', slots: [0, 4] }]);
  run.signal('SIGINT');
  const ended = await run.ended;
  expect(ended.exitCode, ended.stderr.join('\n')).toBe(0);
  const summary = readSummary(folder.at('scaled.json'));
  await lockstepDone([...trainInto('whole'), '--epochs', '100000', '--steps', String(summary.steps)]);
  expect(summary.weightsSha256).toBe(readSummary(folder.at('whole.json')).weightsSha256);
  const kinds = summary.recoveries.map((recovery) => (recovery as { readonly kind: string }).kind);
  expect(kinds.toSorted()).toEqual(['joined', 'joined', 'left', 'left']);
});
