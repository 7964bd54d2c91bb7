/** What comes out of a run for other tools: evaluation, predictions, and weights in their formats, through the command. */
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { JobFolder } from '../support/job-folder.js';
import { errorLines, lockstep, lockstepDone } from '../support/lockstep-command.js';
import { readSummary, readTensors, type SummaryFile } from '../support/run-files.js';

const job = 'test/e2e/fixtures/points.ts';
const numClasses = 3;

let folder: JobFolder;
let runDir: string;
let summary: SummaryFile;
beforeAll(async () => {
  folder = await JobFolder.make();
  runDir = folder.at('run');
  const options = ['--workers', '2', '--set', 'slots=4', '--set', 'threads=1', '--steps', '24'];
  await lockstepDone(['train', job, ...options, '--run-dir', runDir, '--summary', folder.at('summary.json')]);
  summary = readSummary(folder.at('summary.json'));
});
afterAll(() => folder[Symbol.asyncDispose]());

const predictionSchema = z.object({ prediction: z.array(z.number()).length(numClasses) });
const linesOf = (text: string): number[][] =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => predictionSchema.parse(JSON.parse(line)).prediction);

describe('lockstep evaluate', () => {
  test('says of the last checkpoint of a run what its last validation said, to the last bit', async () => {
    const { stdout } = await lockstepDone(['evaluate', job, '--checkpoint', runDir, '--json']);
    const { val_loss: loss, val_accuracy: accuracy } = summary.metrics;
    expect(JSON.parse(stdout.join(''))).toEqual({
      ...{ checkpoint: summary.checkpoint, step: 24, data: 'validation', rows: 61 },
      ...{ loss, metrics: { accuracy } },
    });
  });

  test('says it to people in one line, of the training rows too', async () => {
    const { stdout } = await lockstepDone(['evaluate', job, '--checkpoint', runDir, '--data', 'train']);
    expect(stdout).toEqual([
      expect.stringMatching(/^step 24, 250 rows of train: loss \d\.\d{4}, accuracy [01]\.\d{4}$/),
    ]);
  });
});

describe('lockstep predict', () => {
  test("writes the same numbers for the job's rows as JSON lines and for NumPy", async () => {
    const command = ['predict', job, '--checkpoint', runDir];
    const { stdout } = await lockstepDone([...command, '--batch', '7']);
    await lockstepDone([...command, '--out', folder.at('predictions.npy'), '--batch', '7']);
    await lockstepDone([...command, '--out', folder.at('predictions.jsonl'), '--batch', '7']);
    const lines = linesOf(stdout.join('\n'));
    expect(lines).toHaveLength(61);
    for (const line of lines) expect(line.reduce((sum, part) => sum + part, 0)).toBeCloseTo(1, 5);
    expect(linesOf(readFileSync(folder.at('predictions.jsonl'), 'utf8'))).toEqual(lines);
    const npy = readFileSync(folder.at('predictions.npy'));
    expect(npy.toString('latin1', 0, 10)).toBe('\x93NUMPY\x01\x00v\x00');
    expect(npy.toString('latin1', 10, 128)).toMatch(/^\{'descr': '<f4', .*'shape': \(61, 3,\), \} *\n$/);
    expect([...new Float32Array(Uint8Array.from(npy.subarray(128)).buffer)]).toEqual(lines.flat());
  });

  test('takes inputs from a file, in the order of its lines', async () => {
    const rows = [1, -1].map((sign) => Array.from({ length: 6 }, (_, at) => (sign * at) / 6));
    const [first] = rows;
    await folder.write('rows.jsonl', [...rows, first].map((row) => JSON.stringify({ row })).join('\n'));
    const input = ['--input', folder.at('rows.jsonl'), '--field', 'row'];
    const { stdout } = await lockstepDone(['predict', job, '--checkpoint', runDir, ...input]);
    const [a, b, c] = linesOf(stdout.join('\n'));
    expect(a).toEqual(c);
    expect(a).not.toEqual(b);
  });

  test.each([
    { args: ['--out', 'rows.csv'], says: '--out rows.csv: expected a file .npy or .jsonl' },
    { args: ['--input', 'rows.csv'], says: '--input rows.csv: expected a file .npy or .jsonl' },
  ])('looks at the names of files first: $says', async ({ args, says }) => {
    const ended = await lockstep(['predict', job, '--checkpoint', folder.at('nothing'), ...args]);
    expect(errorLines(ended)).toEqual([expect.stringContaining(says)]);
    expect(ended.exitCode).toBe(2);
  });

  test('names the row of its inputs that is wrong', async () => {
    await folder.write('wrong.jsonl', '{"x": [1, 2, 3, 4, 5, 6]}\n{"x": [1, 2]}\n');
    const ended = await lockstep(['predict', job, '--checkpoint', runDir, '--input', folder.at('wrong.jsonl')]);
    expect(errorLines(ended)).toEqual([expect.stringMatching(/wrong\.jsonl, line 2: .*\[ERR_DATA_INVALID\]$/)]);
    expect(ended.exitCode).toBe(2);
  });
});

describe('lockstep export', () => {
  test('--format safetensors has the weights bit for bit, and no moments', async () => {
    const out = folder.at('weights.safetensors');
    await lockstepDone(['export', runDir, '--format', 'safetensors', '--out', out]);
    const [found, checkpoint] = [readTensors(out), readTensors(summary.checkpoint ?? '')];
    expect([...found.keys()]).toEqual([...checkpoint.keys()].filter((name) => !name.startsWith('optimizer/')));
    for (const [name, values] of found) expect(values).toEqual(checkpoint.get(name));
  });

  test.each([
    { format: 'tfjs', out: 'exported', model: `tfjsModel('exported/model.json')` },
    { format: 'keras', out: 'exported.keras', model: `kerasModel('exported.keras')` },
  ])('--format $format is the model of another job, which predicts the same', async ({ format, out, model }) => {
    await lockstepDone(['export', runDir, '--format', format, '--job', job, '--out', folder.at(out)]);
    const function_ = model.split('(')[0] ?? '';
    const second = await folder.write(
      `${format}.ts`,
      `import { defineJob, sgd, ${function_} } from 'lockstep';
       import points from './points.js';
       export default defineJob({ ...points, name: '${format}', model: ${model}, optimizer: sgd({ learningRate: 1e-30 }) });`,
    );
    await folder.copy(job, 'points.ts');
    const run = folder.at(`run-${format}`);
    const steps = ['--workers', '2', '--set', 'threads=1', '--steps', '2'];
    await lockstepDone(['train', second, ...steps, '--run-dir', run]);
    const [ours, theirs] = await Promise.all([
      lockstepDone(['predict', job, '--checkpoint', runDir]),
      lockstepDone(['predict', second, '--checkpoint', run]),
    ]);
    expect(theirs.stdout).toEqual(ours.stdout);
    await rm(run, { recursive: true });
  });

  test.each([
    { args: ['--format', 'tfjs'], says: '--format tfjs needs --job JOB', code: 'ERR_USAGE' },
    { args: ['--format', 'keras', '--job', job], says: 'expected ….keras', code: 'ERR_USAGE' },
  ])('with $args.1 and what is missing is one line', async ({ args, says, code }) => {
    const ended = await lockstep(['export', runDir, ...args, '--out', folder.at('nothing')]);
    expect(errorLines(ended)).toEqual([expect.stringContaining(says)]);
    expect(errorLines(ended)[0]).toContain(`[${code}]`);
    expect(ended.exitCode).toBe(2);
  });

  test('with the job of another model names all that differs', async () => {
    const other = await folder.write(
      'other.ts',
      `import { defineJob, tf } from 'lockstep';
       import points from './points.js';
       const dense = (units) => tf.layers.dense({ units, inputShape: [6] });
       export default defineJob({ ...points, model: () => tf.sequential({ layers: [dense(17), dense(3), dense(3)] }) });`,
    );
    await folder.copy(job, 'points.ts');
    const ended = await lockstep(['export', runDir, '--format', 'tfjs', '--job', other, '--out', folder.at('none')]);
    const [error = ''] = errorLines(ended);
    expect(error).toContain('"dense_Dense1/kernel" is [6, 16] in the file and [6, 17] in the model');
    expect(error).toContain('the file has no "dense_Dense3/kernel"');
    expect(error).toContain('[ERR_RESUME_MISMATCH]');
  });
});
