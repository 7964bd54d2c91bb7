/** Predictions on their way out: JSON lines, or one array of NumPy. */
import { once } from 'node:events';
import { LockstepError } from '../src/errors.js';
import type { Column } from '../src/job/dataset.js';
import type { Log } from '../src/log.js';
import { sizeOf } from '../src/state/parameter.js';
import { asBytes, writeFileWhole } from '../worker/export/exported-file.js';

export interface PredictionsOptions {
  /** Ends in `.npy` or `.jsonl`; null: JSON lines on stdout. */
  readonly path: string | null;
  readonly numRows: number;
  readonly log: Log;
}

/** @throws LockstepError ERR_USAGE for another kind of file; ERR_EXPORT_WRITE */
export async function writePredictions(
  outputs: AsyncIterable<Column>,
  { path, numRows, log }: PredictionsOptions,
): Promise<void> {
  if (path === null) {
    for await (const lines of jsonLines(outputs)) if (!process.stdout.write(lines)) await once(process.stdout, 'drain');
    return;
  }
  if (path.endsWith('.npy')) await writeFileWhole(path, npyPieces(outputs, numRows), log);
  else if (path.endsWith('.jsonl')) await writeFileWhole(path, jsonLines(outputs), log);
  else throw new LockstepError('ERR_USAGE', `--out ${path}: expected a file .npy or .jsonl.`);
}

/** A line for each row: {"prediction": [0.1, 0.9]} */
async function* jsonLines(outputs: AsyncIterable<Column>): AsyncGenerator<Buffer> {
  for await (const { data, shape } of outputs) {
    const [rows = 0, ...rowShape] = shape;
    const size = sizeOf(rowShape);
    const lines = Array.from({ length: rows }, (_, row) => {
      const prediction = nested([...data.subarray(row * size, (row + 1) * size)], rowShape);
      return `${JSON.stringify({ prediction })}\n`;
    });
    yield Buffer.from(lines.join(''));
  }
}

type Nested = number | undefined | readonly Nested[];

function nested(values: readonly number[], [extent, ...rest]: readonly number[]): Nested {
  if (extent === undefined) return values[0];
  const size = values.length / extent;
  return Array.from({ length: extent }, (_, index) => nested(values.slice(index * size, (index + 1) * size), rest));
}

/** float32, row-major: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
async function* npyPieces(outputs: AsyncIterable<Column>, numRows: number): AsyncGenerator<Uint8Array> {
  let isFirst = true;
  for await (const { data, shape } of outputs) {
    if (isFirst) yield npyHeader([numRows, ...shape.slice(1)]);
    isFirst = false;
    yield asBytes(Float32Array.from(data));
  }
}

function npyHeader(shape: readonly number[]): Buffer {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')},), }`;
  const prefixBytes = 10;
  const padded = Math.ceil((prefixBytes + text.length + 1) / 64) * 64 - prefixBytes;
  const prefix = Buffer.from('\x93NUMPY\x01\x00\x00\x00', 'latin1');
  prefix.writeUInt16LE(padded, 8);
  return Buffer.concat([prefix, Buffer.from(`${text.padEnd(padded - 1)}\n`, 'latin1')]);
}
