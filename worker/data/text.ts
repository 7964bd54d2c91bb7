/** Text as data for language models: read once, made into tokens, and packed into blocks that a cache keeps. */
import { LockstepError } from '../../src/errors.js';
import type { Dataset, OpenContext } from '../../src/job/dataset.js';
import { decodeOnce, type Decode } from './cache.js';
import { elements } from './element.js';
import { findFile, invalidData, type DataFile } from './file.js';
import { combinedFingerprint } from './fingerprint.js';
import { defaultMemoryLimitBytes, openRows } from './row-store.js';
import { Source } from './source.js';
import { StoredDataset } from './stored-dataset.js';
import { TokenBlocks } from './token-blocks.js';
import { openTokenizer, type Tokenizer } from './tokenizer.js';
import { PieceCutter } from './piece-cutter.js';
import { utf8Lines, utf8Parts, type Utf8Line } from './utf8-lines.js';

export interface TextOptions {
  /** A folder with the `tokenizer.json` of a GPT-2, relative to the job file; `'bytes'`: each byte of UTF-8 is a token. */
  readonly tokenizer: string;
  /** Tokens of a row. */
  readonly blockTokens: number;
  /** For JSON lines: the field of each object that has its text. @default the file is one text */
  readonly field?: string;
  /** More tokens (4 bytes each) are read row by row instead of being held in memory. @default 256 MiB */
  readonly memoryLimitBytes?: number;
}

/**
 * A file of text in UTF-8 (`.gz` too) as rows of `blockTokens` tokens, int32: x has them, and y of each the one that follows.
 * Every token but the file's first is predicted once; what fills no row at the end is left out. With `field`, the file has a
 * JSON object per line, and texts are joined by the tokenizer's end of text (for `'bytes'`, a line feed).
 *
 * @param path relative to the job file; opened when training begins
 */
export function text(path: string, options: TextOptions): Source {
  return new Source((context) => openText(path, options, context), options);
}

interface Facts {
  readonly numBlocks: number;
}

async function openText(path: string, options: TextOptions, context: OpenContext): Promise<Dataset> {
  const { blockTokens, field = null, memoryLimitBytes = defaultMemoryLimitBytes } = options;
  if (!Number.isInteger(blockTokens) || blockTokens < 1) {
    throw new LockstepError(
      'ERR_DATA_INVALID',
      `text: found blockTokens ${blockTokens}, expected a whole number from 1 on.`,
    );
  }
  const tokenizer = await openTokenizer(options.tokenizer, context);
  const file = await findFile(path, context);
  const identity = { format: 'text', blockTokens, field, tokenizer: tokenizer.identity };
  const decode = decodeText(file, { tokenizer, blockTokens, field });
  const { facts, bytes, sha256 } = await decodeOnce({ file, options: identity, decode, signal: context.signal });
  const shape = [facts.numBlocks, blockTokens + 1] as const;
  const store = await openRows(bytes, { offset: 0, shape, element: elements.int32, order: 'native' }, memoryLimitBytes);
  return new StoredDataset({
    x: { store, start: 0, rowShape: [blockTokens] },
    y: { store, start: 1, rowShape: [blockTokens] },
    describe: (index) => `${path}, block ${index + 1}`,
    fingerprint: () => combinedFingerprint([identity, sha256]),
  });
}

interface DecodeOptions {
  readonly tokenizer: Tokenizer;
  readonly blockTokens: number;
  readonly field: string | null;
}

function decodeText(file: DataFile, { tokenizer, blockTokens, field }: DecodeOptions): Decode<Facts> {
  return async (content, write) => {
    const { encode } = await tokenizer.codec();
    const blocks = new TokenBlocks(blockTokens, write);
    const pieces =
      field === null
        ? piecesOf(utf8Parts(file, content))
        : documentsOf(file, { lines: utf8Lines(file, content), field, separator: tokenizer.separator });
    for await (const piece of pieces) await blocks.add(encode(piece));
    await blocks.flush();
    if (blocks.numBlocks > 0) return { numBlocks: blocks.numBlocks };
    const found = `found ${blocks.numTokens} tokens`;
    throw invalidData(
      { file: file.name },
      `${found}, expected at least ${blockTokens + 1} for one block of ${blockTokens}`,
    );
  };
}

async function* piecesOf(parts: AsyncIterable<Utf8Line>): AsyncGenerator<string> {
  const cutter = new PieceCutter();
  for await (const { text: part } of parts) yield* cutter.add(part);
  yield* cutter.end();
}

interface DocumentOptions {
  readonly lines: AsyncIterable<Utf8Line>;
  readonly field: string;
  readonly separator: string;
}

/** The text of each line's object, and the separator after it. */
async function* documentsOf(file: DataFile, { lines, field, separator }: DocumentOptions): AsyncGenerator<string> {
  for await (const { line, text: json } of lines) {
    if (json.trim() === '') continue;
    const cutter = new PieceCutter();
    yield* cutter.add(textOf(json, field, { file: file.name, line }));
    yield* cutter.end();
    yield separator;
  }
}

function textOf(json: string, field: string, place: { readonly file: string; readonly line: number }): string {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw invalidData(place, `the line is not valid JSON (${(cause as SyntaxError).message})`, cause);
  }
  const found: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, field) : undefined;
  if (typeof found === 'string') return found;
  throw invalidData(place, `expected an object with a text in the field "${field}"`);
}
