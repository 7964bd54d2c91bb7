/** Rows changed by a function of the job file. */
import type { Batch, Column, Dataset } from '../../src/job/dataset.js';
import { LockstepError } from '../../src/errors.js';
import { changeRows } from './changed-rows.js';
import { firstUnusable, type Values, type ValuesConstructor } from './element.js';
import { defaultMemoryLimitBytes, sizeOf } from './row-store.js';

/** One row: its numbers, flat. */
export interface Row {
  readonly x: Values;
  readonly y: Values;
}

/** What a row becomes; a member left out stays as it is. Typed arrays of a batch keep their type, others become float32. */
export interface ChangedRow {
  readonly x?: number | ArrayLike<number>;
  readonly y?: number | ArrayLike<number>;
}

/** As many numbers as before keep their shape; another number of them, the same for all rows, is flat. */
export type RowMap = (row: Row) => ChangedRow;

interface RowFormat {
  readonly values: ValuesConstructor;
  readonly shape: readonly number[];
}

/** Owns `parent` from now on. */
export async function mapRows(
  parent: Dataset,
  change: RowMap,
  { memoryLimitBytes = defaultMemoryLimitBytes }: { readonly memoryLimitBytes?: number },
): Promise<Dataset> {
  let format: { readonly x: RowFormat; readonly y: RowFormat } | undefined;
  const apply = (batch: Batch, rowName: (position: number) => string): Batch => {
    const rows = Array.from({ length: batch.x.shape[0] ?? 0 }, (_, position) =>
      changeRow(change, batch, position, rowName),
    );
    const [first] = rows;
    if (first) format ??= { x: formatOf(first.x, batch.x), y: formatOf(first.y, batch.y) };
    if (!format) return batch;
    return { x: gather(rows, 'x', format.x, rowName), y: gather(rows, 'y', format.y, rowName) };
  };
  return changeRows(parent, { apply, identity: ['map', change.toString()], memoryLimitBytes });
}

function changeRow(change: RowMap, batch: Batch, position: number, rowName: (position: number) => string): Row {
  const row = { x: rowOf(batch.x, position), y: rowOf(batch.y, position) };
  let changed: ChangedRow;
  try {
    changed = change(row);
  } catch (cause) {
    throw invalidMap(
      `${rowName(position)}: the map function failed: ${cause instanceof Error ? cause.message : String(cause)}`,
      cause,
    );
  }
  return { x: asValues(changed.x ?? row.x), y: asValues(changed.y ?? row.y) };
}

function rowOf({ data, shape }: Column, position: number): Values {
  const length = data.length / (shape[0] ?? 1);
  return data.subarray(position * length, (position + 1) * length);
}

function asValues(numbers: number | ArrayLike<number>): Values {
  if (typeof numbers === 'number') return Float32Array.of(numbers);
  if (numbers instanceof Float32Array || numbers instanceof Int32Array || numbers instanceof Uint8Array) return numbers;
  return Float32Array.from(numbers);
}

function formatOf(row: Values, { shape }: Column): RowFormat {
  const before = shape.slice(1);
  const values = row.constructor as ValuesConstructor; // Values has no other classes
  return { values, shape: sizeOf(before) === row.length ? before : [row.length] };
}

function gather(
  rows: readonly Row[],
  member: keyof Row,
  { values, shape }: RowFormat,
  rowName: (position: number) => string,
): Column {
  const length = sizeOf(shape);
  const data = new values(rows.length * length);
  rows.forEach(({ [member]: row }, position) => {
    if (row.length !== length || row.constructor !== values) {
      const found = `${row.length} numbers in a ${row.constructor.name}`;
      const expected = `${length} in a ${values.name}, as in the first row`;
      throw invalidMap(`${rowName(position)}: the map function's ${member}: found ${found}, expected ${expected}`);
    }
    data.set(row, position * length);
  });
  const unusable = firstUnusable(data);
  if (unusable) {
    const place = `${rowName(Math.floor(unusable.position / length))}: the map function's ${member}`;
    const found = `[${unusable.position % length}]: found ${data[unusable.position] ?? 'nothing'}`;
    throw invalidMap(`${place}${found}, expected ${unusable.expected}`);
  }
  return { data, shape: [rows.length, ...shape] };
}

function invalidMap(message: string, cause?: unknown): LockstepError {
  return new LockstepError('ERR_DATA_INVALID', `${message}.`, { cause });
}
