/** The lines of a text that has to be UTF-8: what is not is named by its line, and never replaced by U+FFFD. */
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
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let line = 0;
  for await (const bytes of byteLines(content)) {
    line++;
    yield { line, text: decodeLine(decoder, bytes, { file, line }) };
  }
}

function decodeLine(
  decoder: TextDecoder,
  bytes: Buffer,
  { file, line }: { readonly file: DataFile; readonly line: number },
): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw invalidData({ file: file.name, line }, 'the line is not UTF-8. Convert the file to UTF-8', cause);
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
