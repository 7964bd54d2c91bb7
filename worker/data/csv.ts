/** CSV files as data: csv-parse reads them, each cell becomes a float32. */
import { pipeline } from 'node:stream/promises';
import { parse, CsvError, type Info } from 'csv-parse';
import { isFloat32 } from './element.js';
import { invalidData, type DataFile } from './file.js';
import { defaultMemoryLimitBytes } from './row-store.js';
import { Source } from './source.js';
import { openTextRows, type RowParser, type TextRow } from './text-rows.js';

/** A column by its position, counted from 0, or by its name in the header. */
export type CsvColumn = number | string;

export interface CsvOptions {
  /** The column to predict, or several: y, of shape [rows, number of label columns]. */
  readonly label: CsvColumn | readonly CsvColumn[];
  /** The columns of x, in this order; x has the shape [rows, number of columns]. @default all but the label */
  readonly columns?: readonly CsvColumn[];
  /** The first line holds the columns' names. @default true if a column is given by name */
  readonly header?: boolean;
  /** Between the cells of a line. @default ',' */
  readonly delimiter?: string;
  /** A larger file is read row by row instead of being held in memory. @default 256 MiB */
  readonly memoryLimitBytes?: number;
}

/**
 * Rows of a CSV file (RFC 4180; `.gz` too). Every used cell must be a number that float32 holds. x and y are float32; class
 * labels are y of shape [rows, 1], as 'sparseCategoricalCrossentropy' takes them. Empty lines are skipped.
 *
 * @param path relative to the job file; opened when training begins
 */
export function csv(path: string, options: CsvOptions): Source {
  const { label, columns, delimiter = ',', memoryLimitBytes = defaultMemoryLimitBytes } = options;
  const labels = typeof label === 'object' ? label : [label];
  const header = options.header ?? [...labels, ...(columns ?? [])].some((column) => typeof column === 'string');
  const layout = { labels, header, delimiter, ...(columns && { columns }) };
  const format = {
    options: { format: 'csv', ...layout },
    parser: (file: DataFile) => new CsvParser(file, layout),
    memoryLimitBytes,
  };
  return new Source((context) => openTextRows(path, format, context));
}

interface CsvLayout {
  readonly labels: readonly CsvColumn[];
  readonly columns?: readonly CsvColumn[];
  readonly header: boolean;
  readonly delimiter: string;
}

/** What the first line decides. */
interface Columns {
  /** Cells in every line. */
  readonly width: number;
  readonly firstLine: number;
  readonly names: readonly string[] | undefined;
  readonly x: readonly number[];
  readonly y: readonly number[];
}

class CsvParser implements RowParser {
  readonly #file: DataFile;
  readonly #layout: CsvLayout;
  #columns: Columns | undefined;

  constructor(file: DataFile, layout: CsvLayout) {
    this.#file = file;
    this.#layout = layout;
  }

  shapes(): { x: number[]; y: number[] } {
    return { x: [this.#columns?.x.length ?? 0], y: [this.#columns?.y.length ?? 0] };
  }

  async *rows(content: AsyncIterable<Buffer>): AsyncGenerator<TextRow> {
    for await (const { cells, line } of this.#records(content)) {
      if (!this.#columns) {
        this.#columns = this.#readFirst(cells, line);
        if (this.#layout.header) continue;
      }
      yield this.#row(cells, line, this.#columns);
    }
  }

  async *#records(content: AsyncIterable<Buffer>): AsyncGenerator<{ cells: string[]; line: number }> {
    const { delimiter } = this.#layout;
    const options = { delimiter, bom: true, info: true, relax_column_count: true, skip_empty_lines: true, trim: true };
    const parser = parse(options);
    const ended = pipeline(content, parser).catch(() => undefined); // the loop throws the same error
    const lines = new LineCounter();
    try {
      // With `info`, csv-parse gives these two for each record.
      for await (const { record, info } of parser as AsyncIterable<{ record: string[]; info: Info }>) {
        yield { cells: record, line: lines.lineOf(record, info.lines) };
      }
    } catch (error) {
      throw error instanceof CsvError ? this.#syntaxError(error) : error;
    } finally {
      await ended;
    }
  }

  #readFirst(cells: readonly string[], line: number): Columns {
    const { labels, columns, header } = this.#layout;
    const names = header ? cells : undefined;
    const positionOf = (column: CsvColumn) => this.#positionOf(column, cells.length, line, names);
    const y = labels.map(positionOf);
    const x =
      columns?.map(positionOf) ?? cells.map((_, position) => position).filter((position) => !y.includes(position));
    if (x.length === 0 || y.length === 0) {
      throw this.#invalid(line, `found ${x.length} input and ${y.length} label columns, expected at least one of each`);
    }
    return { width: cells.length, firstLine: line, names, x, y };
  }

  #positionOf(column: CsvColumn, width: number, line: number, names: readonly string[] | undefined): number {
    const position = typeof column === 'string' ? (names?.indexOf(column) ?? -1) : column;
    if (Number.isInteger(position) && position >= 0 && position < width) return position;
    const wanted =
      typeof column === 'string' ? `a column "${column}"` : `a column at position ${column}, counted from 0`;
    const found = names ? `the columns ${names.map((name) => `"${name}"`).join(', ')}` : `${width} columns`;
    const hint = typeof column === 'string' && !names ? '. Names need header: true' : '';
    throw this.#invalid(line, `found ${found}, expected ${wanted}${hint}`);
  }

  #row(cells: readonly string[], line: number, columns: Columns): TextRow {
    if (cells.length !== columns.width) {
      throw this.#invalid(
        line,
        `found ${cells.length} columns, expected ${columns.width}, as in line ${columns.firstLine}`,
      );
    }
    const number = (position: number) => this.#number(cells[position] ?? '', position, line, columns);
    return { line, x: columns.x.map(number), y: columns.y.map(number) };
  }

  #number(cell: string, position: number, line: number, { names }: Columns): number {
    const number = Number(cell);
    if (cell !== '' && isFloat32(number)) return number;
    const columnName = names?.[position];
    const place = {
      file: this.#file.name,
      line,
      column: position + 1,
      ...(columnName !== undefined && { columnName }),
    };
    const found = cell === '' ? 'an empty cell' : JSON.stringify(cell);
    throw invalidData(place, `found ${found}, expected a finite number within the range of float32`);
  }

  #invalid(line: number, problem: string, cause?: unknown): Error {
    return invalidData({ file: this.#file.name, line }, problem, cause);
  }

  #syntaxError(error: CsvError): Error {
    const line = typeof error['lines'] === 'number' ? error['lines'] : 1;
    return this.#invalid(line, `the line is not valid CSV (${error.message})`, error);
  }
}

/**
 * A record's first line. csv-parse says its last, and counts a CRLF inside quotes twice; both matter only for records of
 * several lines.
 */
class LineCounter {
  #lastLine = 0;
  #countedTwice = 0;

  lineOf(cells: readonly string[], parserLine: number): number {
    let inside = 0;
    if (parserLine - this.#countedTwice > this.#lastLine + 1) {
      for (const cell of cells) {
        inside += cell.split('\n').length - 1;
        this.#countedTwice += cell.split('\r\n').length - 1;
      }
    }
    this.#lastLine = parserLine - this.#countedTwice;
    return this.#lastLine - inside;
  }
}
