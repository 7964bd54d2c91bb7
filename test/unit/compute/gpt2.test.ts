/** What `gpt2` makes of a folder or a configuration, and what it refuses. Its numbers: test/integration/gpt2-golden.test.ts. */
import { cp, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Batch } from '../../../src/job/dataset.js';
import { gpt2, type Gpt2Options } from '../../../worker/models/gpt2/gpt2.js';
import { build, given, readAll, runSlot, tf } from './toy.js';

const golden = fileURLToPath(new URL('../../golden/gpt2-tiny', import.meta.url));
const tiny = { vocab_size: 7, n_positions: 4, n_embd: 8, n_layer: 1, n_head: 2 };

/** The golden model, in a folder of the test's own. */
async function modelFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-gpt2-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  for (const name of ['config.json', 'model.safetensors']) await cp(join(golden, name), join(folder, name));
  return folder;
}

/** Rewrites the header of the folder's weights, in as many bytes. */
async function changeHeader(folder: string, change: (json: string) => string): Promise<void> {
  const path = join(folder, 'model.safetensors');
  const bytes = await readFile(path);
  const end = 8 + Number(bytes.readBigUInt64LE(0));
  const json = change(bytes.toString('utf8', 8, end));
  bytes.write(json.padEnd(end - 8).slice(0, end - 8), 8);
  await writeFile(path, bytes);
}

async function changeConfig(folder: string, fields: Readonly<Record<string, unknown>>): Promise<void> {
  const path = join(folder, 'config.json');
  const config = JSON.parse(await readFile(path, 'utf8')) as object; // it is Hugging Face's
  await writeFile(path, JSON.stringify({ ...config, ...fields }));
}

const refusal = async (folder: string): Promise<unknown> =>
  gpt2('.')({ baseDir: folder }).then(
    () => 'it was made',
    (error: unknown) => error,
  );

function tokenBatch(tokens: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 0]): Batch {
  const column = (data: readonly number[]) => ({ data: Int32Array.from(data), shape: [2, 4] });
  return { x: column(tokens), y: column([1, 2, 3, 4, 5, 6, 0, 1]) };
}

const loss = 'sparseCategoricalCrossentropyFromLogits';
const step = async (options: Gpt2Options, sample = tokenBatch()) =>
  build({ job: { model: gpt2(tiny, options), loss, metrics: [] }, sample });

describe('a folder whose', () => {
  it('weights do not fit is refused, with all that differs', async () => {
    const folder = await modelFolder();
    await changeConfig(folder, { n_positions: 65 });
    await changeHeader(folder, (json) => json.replaceAll('ln_f.bias', 'ln_g.bias'));
    expect(await refusal(folder)).toMatchObject({
      code: 'ERR_MODEL_INVALID',
      message:
        `The weights in ${folder}/model.safetensors do not fit the model: "transformer.wpe.weight" is [64, 32] in the file ` +
        'and [65, 32] in the model; the file has no "transformer.ln_f.bias"; the model has no place for "transformer.ln_g.bias".',
    });
  });

  it('weights have the names of the bare transformer, masks and a tied head is read', async () => {
    const folder = await modelFolder();
    await changeHeader(folder, (json) =>
      json
        .replaceAll('transformer.', '')
        .replace('"h.0.attn', '"h.0.attn.bias":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"h.0.attn'),
    );
    const { parameters } = await gpt2('.')({ baseDir: folder });
    expect(Object.keys(parameters)).toHaveLength(28);
    expect(Object.keys(parameters).every((name) => name.startsWith('transformer.'))).toBe(true);
    tf.dispose(Object.values(parameters));
  });

  it.each([
    [
      'weights are cut short',
      (folder: string) => truncate(join(folder, 'model.safetensors'), 90_000),
      'not a whole safetensors',
    ],
    [
      'header points outside the file',
      (folder: string) => changeHeader(folder, (json) => json.replace('142976]', '942976]')),
      'which are',
    ],
    ['weights are not there', (folder: string) => rm(join(folder, 'model.safetensors')), 'has no weights: expected'],
    ['config is not there', (folder: string) => rm(join(folder, 'config.json')), 'cannot be read: ENOENT'],
    ['config is of another model', (folder: string) => changeConfig(folder, { model_type: 'llama' }), 'model_type: '],
    [
      'config has another activation',
      (folder: string) => changeConfig(folder, { activation_function: 'relu' }),
      'activation_function: ',
    ],
  ])('%s is refused', async (_, change, message) => {
    const folder = await modelFolder();
    await change(folder);
    expect(await refusal(folder)).toMatchObject({ message: expect.stringContaining(message) as string });
  });
});

describe('a new GPT-2', () => {
  it('begins with the loss of one that knows nothing', async () => {
    const made = await step({ dropout: 0 });
    const { loss: found } = runSlot(made, tokenBatch());
    made.dispose();
    expect(Math.abs(found - Math.log(tiny.vocab_size))).toBeLessThan(0.05);
  });

  it('sees no token that is to come', async () => {
    const model = await gpt2(tiny)({ baseDir: '.' });
    const logits = tf.tidy(() =>
      readAll(
        [
          [1, 2, 3, 4],
          [1, 2, 5, 6],
        ].map((row) => {
          const found = model.forward(model.parameters, tf.tensor2d([row], [1, 4], 'int32'), { training: false });
          return tf.slice(found, [0, 0, 0], [1, 2, 7]);
        }),
      ),
    );
    tf.dispose(Object.values(model.parameters));
    expect(given(logits[0])).toEqual(given(logits[1]));
  });

  it('drops in training, and not in evaluation', async () => {
    const made = await step({ dropout: 0.5 });
    const losses = [
      runSlot(made, tokenBatch()).loss,
      made.evaluate(tokenBatch()).loss,
      made.evaluate(tokenBatch()).loss,
    ];
    made.dispose();
    expect(losses[0]).not.toBe(losses[1]);
    expect(losses[1]).toBe(losses[2]);
  });

  it('refuses a token that it does not know, with its row', async () => {
    await expect(step({}, tokenBatch([0, 1, 2, 3, 4, 5, 7, 0]))).rejects.toMatchObject({
      code: 'ERR_DATA_INVALID',
      details: { token: 7, numTokens: 7, rowInBatch: 1 },
    });
  });

  it('refuses rows that are longer than its positions', async () => {
    const column = { data: new Int32Array(10), shape: [2, 5] };
    await expect(step({}, { x: column, y: column })).rejects.toThrow('at most 4 tokens in a row');
  });
});
