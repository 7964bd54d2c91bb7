/** Predictions on their way out: JSON lines, or one array of NumPy. */
import { once } from 'node:events';
import { LockstepError } from '../src/errors.js';
import type { Column } from '../src/job/dataset.js';
import type { Log } from '../src/log.js';
import { sizeOf } from '../src/state/parameter.js';
import { asBytes, writeFileWhole } from '../worker/export/exported-file.js';

/** Where predictions go; `path` is null for stdout. */
export type PredictionsTarget =
  { readonly format: 'npy'; readonly path: string } | { readonly format: 'jsonl'; readonly path: string | null };

/** @throws LockstepError ERR_USAGE for a file that ends otherwise */
export function predictionsTarget(path: string | undefined): PredictionsTarget {
  if (path === undefined) return { format: 'jsonl', path: null };
  if (path.endsWith('.npy')) return { format: 'npy', path };
  if (path.endsWith('.jsonl')) return { format: 'jsonl', path };
  throw new LockstepError('ERR_USAGE', `--out ${path}: expected a file .npy or .jsonl.`);
}

export interface PredictionsOptions {
  readonly target: PredictionsTarget;
  readonly numRows: number;
  readonly log: Log;
}

/** @throws LockstepError ERR_NOT_FINITE for a number that JSON does not have; ERR_EXPORT_WRITE */
export async function writePredictions(
  outputs: AsyncIterable<Column>,
  { target: { format, path }, numRows, log }: PredictionsOptions,
): Promise<void> {
  const pieces = format === 'npy' ? npyPieces(outputs, numRows) : jsonLines(outputs);
  if (path !== null) return writeFileWhole(path, pieces, log);
  for await (const piece of pieces) if (!process.stdout.write(piece)) await once(process.stdout, 'drain');
}

/** A line for each row: {"prediction": [0.1, 0.9]} */
async function* jsonLines(outputs: AsyncIterable<Column>): AsyncGenerator<Buffer> {
  let numBefore = 0;
  for await (const { data, shape } of outputs) {
    const [rows = 0, ...rowShape] = shape;
    const size = sizeOf(rowShape);
    const lines = Array.from({ length: rows }, (_, row) => {
      const values = [...data.subarray(row * size, (row + 1) * size)];
      requireFinite(values, numBefore + row + 1);
      return `${JSON.stringify({ prediction: nested(values, rowShape) })}\n`;
    });
    yield Buffer.from(lines.join(''));
    numBefore += rows;
  }
}

/** JSON would have null in its place. */
function requireFinite(values: readonly number[], row: number): void {
  const value = values.find((one) => !Number.isFinite(one));
  if (value === undefined) return;
  const message = `The prediction for row ${row} has a ${value}, which JSON lines cannot hold. Look at the row, and at the weights; --out FILE.npy writes such numbers too.`;
  throw new LockstepError('ERR_NOT_FINITE', message, { details: { row } });
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
