/** The examples in a short form. Those of one job have the same bits for one worker and for two, one of which is killed. */
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { lockstepDone } from '../support/lockstep-command.js';
import { readMetrics, readSummary } from '../support/run-files.js';

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

test.each([
  { name: 'vision', short: ['--set', 'epochs=1'], metrics: ['accuracy'] },
  {
    name: 'connect-four',
    // Its epoch is too long, and with it its games against others.
    short: ['--set', 'steps=3', '--set', 'batchSize=32'],
    metrics: ['beatsRandom', 'beatsMinimax'],
  },
])('$name', { timeout: 180_000 }, async ({ name, short, metrics }) => {
  const train = async (run: string, ...options: readonly string[]) => {
    const files = ['--run-dir', folder.at(run), '--summary', folder.at(`${run}.json`)];
    await lockstepDone(['train', `examples/${name}/job.ts`, ...short, ...files, ...options]);
    return { summary: readSummary(folder.at(`${run}.json`)), lines: readMetrics(folder.at(run)) };
  };
  const one = await train(`${name}-1`, '--workers', '1');
  const two = await train(`${name}-2`, '--workers', '2', '--chaos', 'kill:1@1');
  expect(two.summary.recoveries).toContainEqual(expect.objectContaining({ kind: 'lost' }));
  expect(two.summary.weightsSha256).toBe(one.summary.weightsSha256);
  expect(two.lines).toEqual(one.lines);
  expect(Object.keys(one.summary.metrics)).toEqual(expect.arrayContaining(metrics));
});

test('language', { timeout: 180_000 }, async () => {
  const args = ['--import', 'tsx', 'examples/language/compare.ts', '--workers', '1', '--steps', '3'];
  const { stdout } = await execa(process.execPath, args, { timeout: 170_000 });
  const bits = [...stdout.matchAll(/^ {2}(\S.*?) {2,}(\d\.\d{3})$/gm)].map(([, what = '', figure]) => [
    what,
    Number(figure),
  ]);
  expect(bits.map(([what]) => what)).toEqual([
    'prose alone',
    'verse alone',
    'prose, then verse',
    'prose, then verse by LoRA',
  ]);
  const [prose = NaN, verse = NaN, fineTuned = NaN, adapted = NaN] = bits.map(([, figure]) => Number(figure));
  // Eight would be by chance; three steps on verse help whoever has had three on prose.
  for (const few of [prose, verse]) expect(few).toBeLessThan(8);
  for (const more of [fineTuned, adapted]) expect(more).toBeLessThan(prose);
  expect(stdout).toContain('The LORD ');
});
