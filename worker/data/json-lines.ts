/** JSON lines as data: one object per line, of which two fields are used. */
import { invalidData, type DataFile } from './file.js';
import { flatten, nestedShape } from './nested.js';
import { defaultMemoryLimitBytes } from './row-store.js';
import { Source } from './source.js';
import { openTextRows, type RowParser, type TextRow } from './text-rows.js';

export interface JsonLinesOptions {
  /**
   * The field of each object that is the input: a number, or numbers in arrays, of the same shape in every line. Several
   * fields: numbers that stand in as many fields, as one array.
   */
  readonly x: string | readonly string[];
  /** The field to predict, as for x. */
  readonly y: string | readonly string[];
  /** A larger file is read row by row instead of being held in memory. @default 256 MiB */
  readonly memoryLimitBytes?: number;
}

/**
 * Rows of a file with one JSON object per line (`.gz` too). x and y are float32; a field that is a single number has the
 * shape [rows, 1]. Empty lines are skipped.
 *
 * @param path relative to the job file; opened when training begins
 */
export function jsonLines(path: string, options: JsonLinesOptions): Source {
  const { x, y, memoryLimitBytes = defaultMemoryLimitBytes } = options;
  const format = {
    options: { format: 'json-lines', x, y },
    parser: (file: DataFile) => new JsonLinesParser(file, { x, y }),
    memoryLimitBytes,
  };
  return new Source((context) => openTextRows(path, format, context));
}

type Fields = Pick<JsonLinesOptions, 'x' | 'y'>;
type Part = keyof Fields;

class JsonLinesParser implements RowParser {
  readonly #file: DataFile;
  readonly #fields: Fields;
  readonly #shapes: Record<Part, readonly number[] | undefined> = { x: undefined, y: undefined };

  constructor(file: DataFile, fields: Fields) {
    this.#file = file;
    this.#fields = fields;
  }

  shapes(): { x: readonly number[]; y: readonly number[] } {
    return { x: this.#shapes.x ?? [], y: this.#shapes.y ?? [] };
  }

  async *rows(content: AsyncIterable<Buffer>): AsyncGenerator<TextRow> {
    let line = 0;
    for await (const text of linesOf(content)) {
      line++;
      if (text.trim() === '') continue;
      const object = this.#parse(text, line);
      yield { line, x: this.#numbers('x', object, line), y: this.#numbers('y', object, line) };
    }
  }

  #parse(text: string, line: number): object {
    try {
      const value: unknown = JSON.parse(text);
      if (typeof value === 'object' && value !== null) return value;
    } catch (error) {
      throw this.#invalid(line, `the line is not valid JSON (${(error as SyntaxError).message})`, error);
    }
    throw this.#invalid(line, `found ${text.slice(0, 40)}, expected an object such as {"x": [1, 2], "y": 0}`);
  }

  #numbers(part: Part, object: object, line: number): number[] {
    const field = this.#fields[part];
    if (typeof field !== 'string')
      return this.#shaped(
        part,
        field.map((name) => this.#field(object, name, line)),
        line,
      );
    return this.#shaped(part, this.#field(object, field, line), line);
  }

  #field(object: object, name: string, line: number): unknown {
    if (Object.hasOwn(object, name)) return (object as Record<string, unknown>)[name];
    throw this.#invalid(line, `found the fields ${quoted(Object.keys(object))}, expected a field "${name}"`);
  }

  #shaped(part: Part, value: unknown, line: number): number[] {
    const shape = (this.#shapes[part] ??= nestedShape(value));
    const numbers: number[] = [];
    const problem = flatten(value, shape, numbers);
    if (problem === undefined && numbers.length > 0) return numbers;
    const field = [this.#fields[part]].flat().join(', ');
    const expected = shape.length === 0 ? 'a finite number' : `finite numbers of shape [${shape.join(', ')}]`;
    throw this.#invalid(line, `field "${field}": found ${problem ?? 'no numbers'}, expected ${expected}`);
  }

  #invalid(line: number, problem: string, cause?: unknown): Error {
    return invalidData({ file: this.#file.name, line }, problem, cause);
  }
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(', ');
}

/** Lines end at LF only: node:readline would also split at U+2028, which JSON texts may hold. */
async function* linesOf(content: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of content) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  rest += decoder.decode();
  if (rest !== '') yield rest;
}
