/** The coordinator sees no weight and no gradient: its memory does not grow with the model. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { lockstepDone, LockstepProcess } from '../support/lockstep-command.js';

const hook = fileURLToPath(new URL('fixtures/report-peak-memory.mjs', import.meta.url));
const numWeightsPerUnit = 1001;
const mebibyte = 2 ** 20;

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

/** Trains a model of this size with one worker; returns the coordinator's peak memory in bytes. */
async function coordinatorPeak(numUnits: number): Promise<number> {
  const env = { LOCKSTEP_TEST_UNITS: String(numUnits), LOCKSTEP_TEST_PEAK_FILE: folder.at(`peak-${numUnits}`) };
  const args = ['test/e2e/fixtures/of-any-size.ts', '--workers', '1', '--run-dir', folder.at(`run-${numUnits}`)];
  const coordinator = LockstepProcess.start(['coordinator', ...args], {
    env: { ...env, NODE_OPTIONS: `--import=${hook}` },
  });
  const [, url = '', token = ''] = await coordinator.line(/--join (\S+) --token-file (\S+)/);
  await lockstepDone(['worker', '--join', url, '--token-file', token], { env });
  expect(await coordinator.ended).toMatchObject({ exitCode: 0 });
  return 1024 * Number(readFileSync(env.LOCKSTEP_TEST_PEAK_FILE, 'utf8'));
}

test('a model of 20 million weights costs the coordinator no more memory than one of a thousand', async () => {
  const [small, large] = [await coordinatorPeak(1), await coordinatorPeak(20_000)];
  const modelBytes = 4 * 20_000 * numWeightsPerUnit;
  expect(modelBytes).toBeGreaterThan(75 * mebibyte);
  expect(small).toBeGreaterThan(30 * mebibyte); // a Node process at all
  expect(large - small).toBeLessThan(modelBytes / 4); // what two runs differ by anyway
});
