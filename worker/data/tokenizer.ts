/**
 * How text becomes tokens: the byte-level BPE of GPT-2 from its `tokenizer.json`, by Hugging Face's own library, or simply
 * the bytes of UTF-8.
 */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { LockstepError, toLockstepError } from '../../src/errors.js';
import type { OpenContext } from '../../src/job/dataset.js';

export interface TextCodec {
  /** Numbers of tokens. */
  readonly encode: (text: string) => ArrayLike<number>;
  /** What is not, or not yet, a character ends as U+FFFD. */
  readonly decode: (tokens: readonly number[]) => string;
}

export interface Tokenizer {
  /** Equal where the same text becomes the same tokens. */
  readonly identity: string;
  /** Numbers of tokens are below this. */
  readonly numTokens: number;
  /** Put after each text of a file that has several. */
  readonly separator: string;
  /** The token that ends a text; null: there is none. */
  readonly endToken: number | null;
  /** Loads what encoding and decoding take. */
  codec(): Promise<TextCodec>;
}

/** Marks the end of a text for GPT-2. */
const endOfText = '<|endoftext|>';

/** @param name a folder with a tokenizer.json, or that file; or 'bytes' */
export async function openTokenizer(name: string, context: OpenContext): Promise<Tokenizer> {
  if (name === 'bytes') return byteTokenizer;
  const path = await findTokenizer(resolve(context.baseDir, name));
  const content = await readFile(path).catch((cause: unknown): never => {
    throw refused(path, toLockstepError(cause).message, cause);
  });
  const json = parseJson(content.toString('utf8'), path);
  const kind = checkKind(json, path);
  await checkModel(path, kind.numTokens);
  const end = kind.added_tokens.find((token) => token.content === endOfText);
  return {
    identity: createHash('sha256').update(content).digest('hex'),
    numTokens: kind.numTokens,
    separator: end?.content ?? '\n',
    endToken: end?.id ?? null,
    codec: () => loadCodec(json as object, kind, path), // checkKind has seen that it is one
  };
}

const byteTokenizer: Tokenizer = {
  identity: 'bytes',
  numTokens: 256,
  separator: '\n',
  endToken: null,
  codec: () =>
    Promise.resolve({
      encode: (text) => new TextEncoder().encode(text),
      decode: (tokens) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(tokens)),
    }),
};

async function findTokenizer(path: string): Promise<string> {
  const isFolder = await stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  return isFolder ? join(path, 'tokenizer.json') : path;
}

const id = z.int().min(0);

/** What the byte-level BPE of GPT-2 is. Others would be cut into words in another way, and a text into pieces wrongly. */
const kindSchema = z.object({
  model: z.object({ type: z.literal('BPE'), vocab: z.record(z.string(), id) }),
  normalizer: z.null(),
  pre_tokenizer: z.object({
    type: z.literal('ByteLevel'),
    add_prefix_space: z.literal(false).default(false),
    use_regex: z.literal(true).default(true),
  }),
  added_tokens: z
    .array(
      z.object({
        id,
        content: z.string().regex(/^(?!.*\S\s)/s, 'expected no white space behind other characters'),
        lstrip: z.literal(false).default(false),
        rstrip: z.literal(false).default(false),
      }),
    )
    .default([]),
});

interface Kind extends Pick<z.output<typeof kindSchema>, 'added_tokens'> {
  readonly numTokens: number;
}

function checkKind(json: unknown, path: string): Kind {
  const parsed = kindSchema.safeParse(json);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => [issue.path.map(String).join('.'), issue.message].join(': '));
    throw refused(path, `it is not a byte-level BPE as GPT-2's (${problems.join('; ')})`);
  }
  const { model, added_tokens } = parsed.data;
  const ids = [...Object.values(model.vocab), ...added_tokens.map((token) => token.id)];
  return { added_tokens, numTokens: 1 + ids.reduce((most, one) => Math.max(most, one), -1) };
}

const modelSchema = z.object({ vocab_size: z.int().positive() });

/** Where a model lies beside its tokenizer, it knows all of its tokens. */
async function checkModel(path: string, numTokens: number): Promise<void> {
  const configPath = join(dirname(path), 'config.json');
  const content = await readFile(configPath, 'utf8').catch(() => undefined);
  if (content === undefined) return;
  const config = modelSchema.safeParse(parseJson(content, configPath));
  if (!config.success || config.data.vocab_size >= numTokens) return;
  throw refused(path, `it has ${numTokens} tokens, and the model beside it knows ${config.data.vocab_size}`);
}

/** What is used of the library. Its own declarations name files without their endings, and so mean nothing here. */
interface Library {
  encode(text: string, options: { readonly add_special_tokens: boolean }): Encoding;
  /** @param tokens one at least */
  decode(tokens: readonly number[], options: { readonly clean_up_tokenization_spaces: boolean }): string;
}

interface Encoding {
  readonly ids: readonly number[];
  readonly tokens: readonly string[];
}

interface LibraryModule {
  readonly Tokenizer: new (tokenizer: unknown, config: object) => Library;
}

async function loadCodec(json: object, { added_tokens }: Kind, path: string): Promise<TextCodec> {
  const { Tokenizer } = (await import('@huggingface/tokenizers')) as LibraryModule;
  let library: Library;
  try {
    // A byte-level BPE can be read back in one way only, which not every file says.
    library = new Tokenizer({ ...json, decoder: { type: 'ByteLevel' } }, {});
  } catch (cause) {
    throw refused(path, toLockstepError(cause).message, cause);
  }
  const added = new Set(added_tokens.map(({ content }) => content));
  return {
    encode: (text) => {
      const { ids, tokens } = library.encode(text, { add_special_tokens: false });
      // The library leaves out what its vocabulary lacks. A character of a token is a byte, except in added tokens.
      const bytesOfToken = (token: string): number => (added.has(token) ? Buffer.byteLength(token) : token.length);
      const numBytes = tokens.reduce((sum, token) => sum + bytesOfToken(token), 0);
      if (numBytes === Buffer.byteLength(text)) return ids;
      throw refused(path, `its vocabulary lacks bytes, or what its merges make: "${text.slice(0, 40)}" loses some`);
    },
    decode: (tokens) => (tokens.length === 0 ? '' : library.decode(tokens, { clean_up_tokenization_spaces: false })),
  };
}

function parseJson(content: string, path: string): unknown {
  try {
    return JSON.parse(content);
  } catch (cause) {
    throw refused(path, `it is not JSON (${toLockstepError(cause).message})`, cause);
  }
}

function refused(path: string, problem: string, cause?: unknown): LockstepError {
  const message = `The tokenizer ${path} cannot be used: ${problem}. Expected the tokenizer.json of the model.`;
  return new LockstepError('ERR_DATA_INVALID', message, { cause, details: { path, problem } });
}
