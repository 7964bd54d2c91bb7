/** 2,000 steps leave no more alive in a worker than 500. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { JobFolder } from '../support/job-folder.js';
import { lockstepDone } from '../support/lockstep-command.js';

const mebibyte = 2 ** 20;
/** V8 compiles for a while yet, 0.6 MB of code; one promise that each step leaves behind is 2 MB. */
const heapSlackBytes = 1.25 * mebibyte;
/** Freed memory that the allocator keeps; a leak of one batch's tensors in each step is far more. */
const residentSlackBytes = 24 * mebibyte;

const observationSchema = z.object({
  reads: z.int(),
  tensors: z.int().positive(),
  handles: z.array(z.string()),
  files: z.array(z.string()).nonempty(),
  heapBytes: z.int(),
  bufferBytes: z.int(),
  residentBytes: z.int(),
});

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

test('live tensors, handles, open files and memory are flat over 2,000 steps', async () => {
  const args = ['--workers', '2', '--epochs', '201', '--steps', '2002', '--run-dir', folder.at('run')];
  const env = { LOCKSTEP_TEST_OBSERVATIONS: folder.at('observed') };
  await lockstepDone(['train', 'test/e2e/fixtures/self-observing.ts', ...args], { env });

  const files = readdirSync(folder.path).filter((name) => name.startsWith('observed.'));
  expect(files).toHaveLength(2);
  for (const file of files) {
    const lines = readFileSync(folder.at(file), 'utf8').trimEnd().split('\n');
    const [early, late] = lines.map((line) => observationSchema.parse(JSON.parse(line)));
    if (!early || !late) throw new Error(`two observations were expected, ${lines.length} came`);
    expect([early.reads, late.reads]).toEqual([500, 2000]);
    expect(late.tensors).toBe(early.tensors);
    expect(late.handles).toEqual(early.handles);
    expect(late.files).toEqual(early.files);
    expect(late.heapBytes - early.heapBytes).toBeLessThan(heapSlackBytes);
    expect(late.bufferBytes - early.bufferBytes).toBeLessThan(heapSlackBytes);
    expect(late.residentBytes - early.residentBytes).toBeLessThan(residentSlackBytes);
  }
});
