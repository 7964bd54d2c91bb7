/** Opens a text file of rows: decoded once per host to float32 records of x, then y, which are then read like binary ones. */
import type { Dataset, OpenContext } from '../../src/job/dataset.js';
import { decodeOnce, type Decode } from './cache.js';
import { elements } from './element.js';
import { findFile, invalidData, type DataFile } from './file.js';
import { combinedFingerprint } from './fingerprint.js';
import { LineIndex, type LineJump } from './line-index.js';
import { openRows, sizeOf } from './row-store.js';
import { StoredDataset } from './stored-dataset.js';

/** One parsed row; every row of a file has the same lengths, and numbers that float32 holds. */
export interface TextRow {
  /** Its first line, counted from 1. */
  readonly line: number;
  readonly x: ArrayLike<number>;
  readonly y: ArrayLike<number>;
}

/** Parses a file's content. `shapes` is complete once the first row is there. */
export interface RowParser {
  rows(content: AsyncIterable<Buffer>): AsyncGenerator<TextRow>;
  shapes(): { readonly x: readonly number[]; readonly y: readonly number[] };
}

export interface TextFormat {
  /** Plain data: what the rows depend on beside the file. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly parser: (file: DataFile) => RowParser;
  readonly memoryLimitBytes: number;
}

interface Facts {
  readonly numRows: number;
  readonly xShape: readonly number[];
  readonly yShape: readonly number[];
  readonly lines: readonly LineJump[];
}

export async function openTextRows(name: string, format: TextFormat, context: OpenContext): Promise<Dataset> {
  const file = await findFile(name, context);
  const { options } = format;
  const decoded = await decodeOnce({ file, options, decode: decodeRows(file, format), signal: context.signal });
  const { facts, bytes, sha256 } = decoded;
  const shape = [facts.numRows, sizeOf(facts.xShape) + sizeOf(facts.yShape)] as const;
  const layout = { offset: 0, shape, element: elements.float32, order: 'native' } as const;
  const store = await openRows(bytes, layout, format.memoryLimitBytes);
  const lines = new LineIndex(facts.lines);
  return new StoredDataset({
    x: { store, start: 0, rowShape: facts.xShape },
    y: { store, start: sizeOf(facts.xShape), rowShape: facts.yShape },
    describe: (index) => `${name}, line ${lines.lineOf(index)}`,
    fingerprint: () => combinedFingerprint([options, sha256]),
  });
}

function decodeRows(file: DataFile, format: TextFormat): Decode<Facts> {
  return async (content, write) => {
    const parser = format.parser(file);
    const records = new RecordWriter(write);
    const lines = new LineIndex();
    let numRows = 0;
    for await (const row of parser.rows(content)) {
      lines.add(numRows++, row.line);
      await records.add(row);
    }
    await records.flush();
    if (numRows === 0) throw invalidData({ file: file.name }, 'found no rows, expected at least one');
    const { x, y } = parser.shapes();
    return { numRows, xShape: x, yShape: y, lines: lines.jumps };
  };
}

/** Gathers records into blocks, so that the file is not written row by row. */
class RecordWriter {
  readonly #write: (bytes: Uint8Array) => Promise<void>;
  #block = new Float32Array(0);
  #used = 0;

  constructor(write: (bytes: Uint8Array) => Promise<void>) {
    this.#write = write;
  }

  async add({ x, y }: TextRow): Promise<void> {
    const length = x.length + y.length;
    if (this.#used + length > this.#block.length) {
      await this.flush();
      if (length > this.#block.length) this.#block = new Float32Array(Math.max(length, 64 * 1024));
    }
    this.#block.set(x, this.#used);
    this.#block.set(y, this.#used + x.length);
    this.#used += length;
  }

  async flush(): Promise<void> {
    if (this.#used > 0) await this.#write(new Uint8Array(this.#block.buffer, 0, this.#used * 4));
    this.#used = 0;
  }
}
