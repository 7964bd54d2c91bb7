/** The lines of a text that has to be UTF-8: what is not is named by its line, and never replaced by U+FFFD. */
import { constants } from 'node:buffer';
import { TextDecoder } from 'node:util';
import { invalidData, type DataFile } from './file.js';

export interface Utf8Line {
  /** Counted from 1. */
  readonly line: number;
  /** With the LF that ends it, where there is one. */
  readonly text: string;
}

const lineFeed = 0x0a;

/** Lines end at LF only. */
export async function* utf8Lines(file: DataFile, content: AsyncIterable<Buffer>): AsyncGenerator<Utf8Line> {
  let line = 0;
  for await (const bytes of byteLines(content)) {
    line++;
    yield { line, text: decode(bytes, { file, line }) };
  }
}

/** The same where a line of any length may come in parts, so that none is held as a whole. */
export async function* utf8Parts(file: DataFile, content: AsyncIterable<Buffer>): AsyncGenerator<Utf8Line> {
  let line = 1;
  for await (const bytes of byteParts(content)) {
    yield { line, text: decode(bytes, { file, line }) };
    if (bytes.at(-1) === lineFeed) line++;
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decode(bytes: Buffer, { file, line }: { readonly file: DataFile; readonly line: number }): string {
  const place = { file: file.name, line };
  // A character of UTF-16 has no more units than its UTF-8 has bytes.
  if (bytes.length > constants.MAX_STRING_LENGTH) {
    throw invalidData(place, `the line has ${bytes.length} bytes, expected ${constants.MAX_STRING_LENGTH} at most`);
  }
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw invalidData(place, 'the line is not UTF-8. Convert the file to UTF-8', cause);
  }
}

/** An LF is no part of any other character, so lines can be cut before they are decoded. */
async function* byteLines(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  for await (const chunk of content) {
    let start = 0;
    for (let end = chunk.indexOf(lineFeed) + 1; end > 0; end = chunk.indexOf(lineFeed, start) + 1) {
      yield Buffer.concat([...rest, chunk.subarray(start, end)]);
      rest = [];
      start = end;
    }
    if (start < chunk.length) rest.push(chunk.subarray(start));
  }
  if (rest.length > 0) yield Buffer.concat(rest);
}

async function* byteParts(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of content) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end = bytes.indexOf(lineFeed) + 1; end > 0; end = bytes.indexOf(lineFeed, start) + 1) {
      yield bytes.subarray(start, end);
      start = end;
    }
    const end = characterEnd(bytes, start);
    if (end > start) yield bytes.subarray(start, end);
    rest = bytes.subarray(end);
  }
  if (rest.length > 0) yield rest;
}

/** UTF-8 has so many bytes for a character at most (RFC 3629). */
const maxCharacterBytes = 4;

/** Before the last character, which may have more bytes that are not there yet. */
function characterEnd(bytes: Buffer, start: number): number {
  for (let at = bytes.length - 1; at >= Math.max(start, bytes.length - maxCharacterBytes); at--) {
    if (((bytes[at] ?? 0) & 0xc0) !== 0x80) return at;
  }
  return bytes.length; // no character begins there: it is no UTF-8, and decoding says so
}
