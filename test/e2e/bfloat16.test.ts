/** Gradients that travel as bfloat16: other bits than float32, and the same for any number of workers. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { errorLines, lockstep, lockstepDone } from '../support/lockstep-command.js';
import { readMetrics, readSummary, type MetricsLine } from '../support/run-files.js';

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

function args(name: string, ...options: readonly string[]): string[] {
  const path = folder.at(name);
  const files = ['--run-dir', path, '--summary', `${path}.json`];
  return ['train', 'examples/digits/job.ts', '--epochs', '1', '--set', 'slots=4', ...files, ...options];
}

async function train(
  name: string,
  ...options: readonly string[]
): Promise<{ weightsSha256: string | null; lines: readonly MetricsLine[] }> {
  await lockstepDone(args(name, ...options));
  return { weightsSha256: readSummary(folder.at(`${name}.json`)).weightsSha256, lines: readMetrics(folder.at(name)) };
}

const bfloat16 = ['--set', 'wire=bfloat16'];

test('1, 2, 3 and 4 workers give the same bits, which are not those of float32', async () => {
  const one = await train('one', '--workers', '1', ...bfloat16);
  for (const numWorkers of ['2', '3', '4']) {
    expect(await train(`of-${numWorkers}`, '--workers', numWorkers, ...bfloat16), numWorkers).toEqual(one);
  }
  const float32 = await train('float32', '--workers', '2');
  expect(float32.weightsSha256).not.toBe(one.weightsSha256);
  // The first loss is of the same weights, and rides as float32.
  expect(float32.lines[0]?.loss).toBe(one.lines[0]?.loss);
});

test('a run is not resumed with another wire', async () => {
  await lockstepDone(args('cut', '--workers', '1', '--steps', '3', ...bfloat16));
  const ended = await lockstep(args('cut', '--workers', '1', '--resume'));
  expect(ended.exitCode).toBe(2);
  expect(errorLines(ended).join('\n')).toContain('wire was "bfloat16" and is "float32"');
});
