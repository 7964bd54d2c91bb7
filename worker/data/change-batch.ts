/** The rows of a batch, each changed by a function of the job file. */
import type { Batch, ChangedRow, Column, Row } from '../../src/job/dataset.js';
import { LockstepError } from '../../src/errors.js';
import { firstUnusable, type Values, type ValuesConstructor } from './element.js';
import { sizeOf } from './row-store.js';

interface ColumnFormat {
  readonly values: ValuesConstructor;
  readonly shape: readonly number[];
}

/** What every row has. */
export interface RowFormat {
  readonly x: ColumnFormat;
  readonly y: ColumnFormat;
}

export interface BatchChange {
  readonly change: (row: Row, position: number) => ChangedRow;
  /** For messages: "the map function". */
  readonly name: string;
  /** Where the batch's row at a position comes from. */
  readonly rowName: (position: number) => string;
  /** What rows become, and who says so. @default that of the first row, as it is changed */
  readonly format?: { readonly of: RowFormat; readonly asIn: string } | undefined;
}

/**
 * As many numbers as before keep their shape; another number of them, the same for all rows, is flat.
 *
 * @throws LockstepError ERR_DATA_INVALID, naming the row
 */
export function changeBatch(batch: Batch, how: BatchChange): { readonly batch: Batch; readonly format: RowFormat } {
  const rows = Array.from({ length: batch.x.shape[0] ?? 0 }, (_, position) => changeRow(batch, position, how));
  const [first] = rows;
  const found = first ? { x: formatOf(first.x, batch.x), y: formatOf(first.y, batch.y) } : formatOfBatch(batch);
  const { of: format, asIn } = how.format ?? { of: found, asIn: 'the first row' };
  const column = (member: keyof Row): Column => gather(rows, { member, format: format[member], asIn, how });
  return { batch: { x: column('x'), y: column('y') }, format };
}

/** Of rows that are not changed. */
export function formatOfBatch({ x, y }: Batch): RowFormat {
  const formatOfColumn = ({ data, shape }: Column): ColumnFormat => {
    return { values: data.constructor as ValuesConstructor, shape: shape.slice(1) }; // Values has no other classes
  };
  return { x: formatOfColumn(x), y: formatOfColumn(y) };
}

function changeRow(batch: Batch, position: number, { change, name, rowName }: BatchChange): Row {
  const row = { x: rowOf(batch.x, position), y: rowOf(batch.y, position) };
  let changed: ChangedRow;
  try {
    changed = change(row, position);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw invalid(`${rowName(position)}: ${name} failed: ${why}`, cause);
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

function formatOf(row: Values, { shape }: Column): ColumnFormat {
  const before = shape.slice(1);
  const values = row.constructor as ValuesConstructor; // Values has no other classes
  return { values, shape: sizeOf(before) === row.length ? before : [row.length] };
}

interface Gathered {
  readonly member: keyof Row;
  readonly format: ColumnFormat;
  readonly asIn: string;
  readonly how: BatchChange;
}

function gather(rows: readonly Row[], { member, format: { values, shape }, asIn, how }: Gathered): Column {
  const { name, rowName } = how;
  const length = sizeOf(shape);
  const data = new values(rows.length * length);
  rows.forEach(({ [member]: row }, position) => {
    if (row.length !== length || row.constructor !== values) {
      const found = `${row.length} numbers in a ${row.constructor.name}`;
      const expected = `${length} in a ${values.name}, as in ${asIn}`;
      throw invalid(`${rowName(position)}: ${name}'s ${member}: found ${found}, expected ${expected}`);
    }
    data.set(row, position * length);
  });
  const unusable = firstUnusable(data);
  if (unusable) {
    const place = `${rowName(Math.floor(unusable.position / length))}: ${name}'s ${member}`;
    const found = `[${unusable.position % length}]: found ${data[unusable.position] ?? 'nothing'}`;
    throw invalid(`${place}${found}, expected ${unusable.expected}`);
  }
  return { data, shape: [rows.length, ...shape] };
}

function invalid(message: string, cause?: unknown): LockstepError {
  return new LockstepError('ERR_DATA_INVALID', `${message}.`, { cause });
}
