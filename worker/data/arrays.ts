/** Numbers that the job file has in memory, as data. */
import { LockstepError } from '../../src/errors.js';
import type { Column } from '../../src/job/dataset.js';
import { firstUnusable, type Values } from './element.js';
import { columnsFingerprint } from './fingerprint.js';
import { flatten, nestedShape } from './nested.js';
import { MemoryRows } from './row-store.js';
import { Source } from './source.js';
import { StoredDataset } from './stored-dataset.js';

/** Numbers, or arrays of them of equal shapes. */
export type NestedNumbers = number | readonly NestedNumbers[];

/** Rows as nested arrays, which become float32, or as a typed array with its shape, `shape[0]` counting the rows. */
export type Rows = readonly NestedNumbers[] | Column;

/** Rows in memory; x and y have as many. Rows that are single numbers have the shape [rows, 1]. */
export function arrays({ x, y }: { readonly x: Rows; readonly y: Rows }): Source {
  return new Source(async () => {
    const columns = { x: columnOf('x', x), y: columnOf('y', y) };
    const [numRows = 0] = columns.x.shape;
    if (numRows === 0) throw invalid('x: found no rows, expected at least one');
    if (columns.y.shape[0] !== numRows) {
      throw invalid(`y: found ${columns.y.shape[0] ?? 0} rows, expected as many as the ${numRows} of x`);
    }
    const field = ({ data, shape }: Column) => ({
      store: new MemoryRows(data, numRows),
      start: 0,
      rowShape: shape.slice(1),
    });
    return new StoredDataset({
      x: field(columns.x),
      y: field(columns.y),
      describe: (index) => `row ${index + 1}`,
      fingerprint: () => columnsFingerprint(columns),
    });
  });
}

function columnOf(name: string, rows: Rows): Column {
  const column = 'data' in rows ? rows : nestedColumn(name, rows);
  const rowLength = column.data.length / Math.max(column.shape[0] ?? 0, 1);
  if (column.data.length !== column.shape.reduce((size, length) => size * length, 1)) {
    throw invalid(`${name}: found ${column.data.length} numbers, expected the shape [${column.shape.join(', ')}]`);
  }
  const unusable = firstUnusable(column.data);
  if (unusable) {
    const place = `${name}, row ${Math.floor(unusable.position / rowLength) + 1}, column ${(unusable.position % rowLength) + 1}`;
    throw invalid(`${place}: found ${column.data[unusable.position] ?? 'nothing'}, expected ${unusable.expected}`);
  }
  return column;
}

function nestedColumn(name: string, rows: readonly NestedNumbers[]): Column {
  const rowShape = nestedShape(rows[0]);
  const numbers: number[] = [];
  rows.forEach((row, index) => {
    const problem = flatten(row, rowShape, numbers);
    if (problem === undefined) return;
    throw invalid(
      `${name}, row ${index + 1}: found ${problem}, expected finite numbers of shape [${rowShape.join(', ')}]`,
    );
  });
  const data: Values = Float32Array.from(numbers);
  return { data, shape: [rows.length, ...rowShape] };
}

function invalid(problem: string): LockstepError {
  return new LockstepError('ERR_DATA_INVALID', `arrays: ${problem}.`);
}
