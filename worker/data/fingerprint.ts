/** Digests of data: equal on hosts where the same rows are read in the same order, wherever the files lie. */
import { createHash } from 'node:crypto';
import type { Batch, Dataset } from '../../src/job/dataset.js';
import { blocksOf } from './rows.js';

/** SHA-256 of plain data, among it the digests of what it is made of. */
export function combinedFingerprint(parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** The dataset's own fingerprint, or else one of all its rows. */
export async function fingerprintOf(dataset: Dataset): Promise<string> {
  if (dataset.fingerprint) return dataset.fingerprint();
  const blocks: string[] = [];
  for (const indices of blocksOf(dataset.length)) blocks.push(columnsFingerprint(await dataset.read(indices)));
  return combinedFingerprint(blocks);
}

/** Of the numbers, their types and shapes. */
export function columnsFingerprint({ x, y }: Batch): string {
  const hash = createHash('sha256');
  for (const { data, shape } of [x, y]) {
    hash.update(JSON.stringify([data.constructor.name, shape]));
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest('hex');
}
