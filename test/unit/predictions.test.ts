/** Predictions on their way out: numbers that JSON does not have are not written as something else. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { predictionsTarget, writePredictions } from '../../bin/predictions.js';
import type { Column } from '../../src/job/dataset.js';
import { folderWith } from '../support/weight-files.js';
import { silentLog } from './compute/toy.js';

/** Two batches of two rows, the second of which has a NaN. */
async function* outputs(): AsyncGenerator<Column> {
  yield { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] };
  yield await Promise.resolve({ data: Float32Array.of(5, 6, 7, NaN), shape: [2, 2] });
}

async function write(path: string): Promise<void> {
  await writePredictions(outputs(), { target: predictionsTarget(path), numRows: 4, log: silentLog });
}

it('JSON lines with a NaN are refused with its row, and nothing is left of the file', async () => {
  const path = join(await folderWith({}), 'out.jsonl');
  await expect(write(path)).rejects.toMatchObject({
    code: 'ERR_NOT_FINITE',
    message: expect.stringContaining('row 4 has a NaN') as string,
  });
  expect(existsSync(path)).toBe(false);
});

it('an array of NumPy has it', async () => {
  const path = join(await folderWith({}), 'out.npy');
  await write(path);
  const bytes = await readFile(path);
  expect([...new Float32Array(Uint8Array.from(bytes.subarray(128)).buffer)]).toEqual([1, 2, 3, 4, 5, 6, 7, NaN]);
});
