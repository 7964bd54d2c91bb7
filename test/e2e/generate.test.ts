/** `lockstep generate`: a model that has learnt a text says it by heart, and what it says otherwise follows from the seed. */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { errorLines, lockstep, lockstepDone } from '../support/lockstep-command.js';
import { readSummary } from '../support/run-files.js';

const golden = fileURLToPath(new URL('../golden', import.meta.url));
const alphabet = 'abcdefghijklmnopqrstuvwxyz';

let folder: JobFolder;
let job: string;
let checkpoint: string;
beforeAll(async () => {
  folder = await JobFolder.make();
  await folder.write('letters.txt', alphabet.repeat(400));
  job = await folder.write(
    'job.ts',
    `import { adam, defineJob, gpt2, text } from 'lockstep';
export default defineJob({
  name: 'by-heart',
  model: gpt2({ vocab_size: 256, n_positions: 32, n_embd: 32, n_layer: 1, n_head: 2 }, { dropout: 0 }),
  loss: 'sparseCategoricalCrossentropyFromLogits',
  data: { train: text('letters.txt', { tokenizer: 'bytes', blockTokens: 32 }) },
  optimizer: adam({ learningRate: 1e-2 }),
  batchSize: 16,
  steps: 80,
  epochs: 10,
  threads: 1,
});`,
  );
  const summary = folder.at('summary.json');
  await lockstepDone(['train', job, '--run-dir', folder.at('run'), '--summary', summary]);
  checkpoint = readSummary(summary).checkpoint ?? 'none';
});
afterAll(() => folder[Symbol.asyncDispose]());

async function generated(...args: readonly string[]): Promise<string> {
  const { stdout } = await lockstepDone(['generate', ...args]);
  return stdout.join('\n');
}

async function refusal(
  ...args: readonly string[]
): Promise<{ readonly line: string; readonly exitCode: number | null }> {
  const ended = await lockstep(['generate', ...args]);
  expect(ended.stdout.join('')).toBe('');
  const [line = '', ...more] = errorLines(ended);
  expect(more).toEqual([]);
  return { line, exitCode: ended.exitCode };
}

describe('a text', () => {
  test('that a model has learnt is gone on with, past the tokens that it takes', async () => {
    const args = ['--checkpoint', folder.at('run'), '--temperature', '0', '--prompt', 'abc', '--max-tokens', '60'];
    expect(await generated(job, ...args)).toBe(alphabet.repeat(3).slice(0, 'abc'.length + 60));
  });

  test('is the same for the same seed, and another for another seed or other weights', async () => {
    const args = [job, '--checkpoint', checkpoint, '--temperature', '2', '--top-k', '20', '--max-tokens', '30'];
    const first = await generated(...args, '--seed', '7');
    expect(await generated(...args, '--seed', '7')).toBe(first);
    expect(await generated(...args, '--seed', '8')).not.toBe(first);
    expect(await generated(job, ...args.slice(3), '--seed', '7')).not.toBe(first);
  });

  test('comes from a folder as Hugging Face saves it', async () => {
    const args = [
      `${golden}/gpt2-tiny`,
      '--tokenizer',
      'bytes',
      '--prompt',
      'abc',
      '--max-tokens',
      '5',
      '--top-k',
      '1',
    ];
    const found = await generated(...args);
    expect(found.startsWith('abc')).toBe(true);
    expect(found.length).toBeGreaterThan('abc'.length);
    expect(await generated(...args.slice(0, -2), '--temperature', '0')).toBe(found);
  });
});

describe('one line says that', () => {
  test('the tokenizer is that of another model', async () => {
    const { line, exitCode } = await refusal(`${golden}/gpt2-tiny`, '--tokenizer', `${golden}/tokenizer`);
    expect(line).toMatch(/tokenizer has 600 tokens, and the model knows 257.*\[ERR_DATA_INVALID\]$/);
    expect(exitCode).toBe(2);
  });

  test('nothing says what the tokens are', async () => {
    const { line, exitCode } = await refusal('test/e2e/fixtures/golden-gpt2.ts');
    expect(line).toMatch(/no text\(…\).*--tokenizer.*\[ERR_USAGE\]$/);
    expect(exitCode).toBe(2);
  });

  test('the model is none of tokens', async () => {
    const { line } = await refusal('examples/digits/job.ts', '--tokenizer', 'bytes');
    expect(line).toMatch(/does not say that it is one of tokens.*\[ERR_MODEL_INVALID\]$/);
  });

  test('a checkpoint is of another model', async () => {
    const { line } = await refusal(`${golden}/gpt2-tiny`, '--tokenizer', 'bytes', '--checkpoint', checkpoint);
    expect(line).toMatch(/do not fit the model: .*"transformer\.wte\.weight" is \[256, 32\].*\[ERR_RESUME_MISMATCH\]$/);
  });

  test('a checkpoint is not there', async () => {
    const { line } = await refusal(job, '--checkpoint', folder.at('absent.safetensors'));
    expect(line).toMatch(/absent\.safetensors cannot be read: ENOENT.*\[ERR_CHECKPOINT_INVALID\]$/);
  });
});
