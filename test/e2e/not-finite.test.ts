/** A gradient or a loss that is NaN or infinite: the run stops before the weights are touched, or leaves the step out. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { errorLines, lockstep, lockstepDone } from '../support/lockstep-command.js';
import { checkpointFiles, readSummary } from '../support/run-files.js';

const job = 'test/e2e/fixtures/not-finite.ts';

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

const filesOf = (name: string) => ['--run-dir', folder.at(name), '--summary', folder.at(`${name}.json`)];

test.each([
  { what: 'gradient', says: /The gradient of scale of slot 1 at step 2 is not finite.*\[ERR_NOT_FINITE\]$/ },
  { what: 'loss', says: /The loss of slot 1 at step 2 is Infinity.*\[ERR_NOT_FINITE\]$/ },
])('a $what that is not finite stops the run with step, slot and name', async ({ what, says }) => {
  const args = ['train', job, '--workers', '2', '--set', 'checkpointEverySteps=1', ...filesOf(what)];
  const ended = await lockstep(args, { env: { NOT_FINITE: what } });
  expect(ended.exitCode).toBe(1);
  expect(errorLines(ended)).toEqual([expect.stringMatching(says)]);
  expect(readSummary(folder.at(`${what}.json`))).toMatchObject({ steps: 2, skippedSteps: 0 });
  expect(checkpointFiles(folder.at(what)).at(-1)).toBe('step-00000002.safetensors');
});

test.each([{ what: 'gradient' }, { what: 'loss' }])(
  'a step that is skipped for its $what has the same bits for any workers, compiled or not, sharded or not',
  async ({ what }) => {
    const runs = [];
    for (const [workers, ...fields] of [[1], [2], [3, 'compile=false'], [2, 'optimizer.sharded=true']] as const) {
      const name = `${what}-${workers}${fields.join('')}`;
      const sets = ['onNotFinite=skip', ...fields].flatMap((field) => ['--set', field]);
      const args = ['train', job, '--workers', String(workers), ...sets, ...filesOf(name)];
      const { stderr } = await lockstepDone(args, { env: { NOT_FINITE: what } });
      expect(stderr).toContainEqual(expect.stringMatching(/step 2 is skipped: .* of slot 1 is not finite/));
      runs.push(readSummary(folder.at(`${name}.json`)));
    }
    expect(runs.map(({ steps, skippedSteps }) => [steps, skippedSteps])).toEqual(runs.map(() => [6, 1]));
    expect(new Set(runs.map(({ weightsSha256 }) => weightsSha256)).size).toBe(1);
    const lines = readFileSync(folder.at(`${what}-1`, 'metrics.jsonl'), 'utf8')
      .trimEnd()
      .split('\n');
    const losses = lines.map((line) => (JSON.parse(line) as { loss: number | null }).loss); // as operations.md has it
    expect(losses.map((loss) => loss === null)).toEqual([false, false, true, false, false, false]);
  },
);
