/** 50 steps of the whole trainer against PyTorch: test/golden/mlp/README.md says how its numbers were made. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { JobFolder } from '../support/job-folder.js';
import { lockstepDone } from '../support/lockstep-command.js';
import { readMetrics, readTensors } from '../support/run-files.js';

/** Issue 2, "Right numbers". */
const weightTolerance = 5e-6;
const lossTolerance = 1e-5;
const numSteps = 50;

const golden = (name: string): string => fileURLToPath(new URL(`../golden/mlp/${name}`, import.meta.url));

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

test.each([
  { numWorkers: 1, slots: 1 },
  { numWorkers: 2, slots: 2 },
  { numWorkers: 2, slots: 3 }, // unequal ones, of 21, 21 and 22 rows
])('50 steps of $numWorkers worker(s) and $slots slot(s) are those of PyTorch', async ({ numWorkers, slots }) => {
  const runDir = folder.at(`${numWorkers}-${slots}`);
  const sizes = ['--workers', String(numWorkers), '--set', `slots=${slots}`];
  await lockstepDone(['train', 'test/e2e/fixtures/golden-digits.ts', ...sizes, '--run-dir', runDir]);

  const { lossPerStep } = z
    .object({ lossPerStep: z.array(z.number()).length(numSteps) })
    .parse(JSON.parse(readFileSync(golden('expected.json'), 'utf8')));
  const losses = readMetrics(runDir).map(({ loss }) => loss ?? NaN);
  expect(losses).toHaveLength(numSteps);
  expect(largestDifference(losses, lossPerStep)).toBeLessThan(lossTolerance);

  const found = readTensors(`${runDir}/checkpoints/step-00000050.safetensors`);
  const expected = readTensors(golden('final.safetensors'));
  expect(expected.size).toBe(6);
  for (const [name, weights] of expected) {
    expect(largestDifference(found.get(name) ?? [], weights), name).toBeLessThan(weightTolerance);
  }
});

function largestDifference(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (found.length !== expected.length) return Infinity;
  return Array.from(found, (value, at) => Math.abs(value - (expected[at] ?? NaN))).reduce(
    (most, difference) => (difference <= most ? most : difference), // NaN stays
    0,
  );
}
