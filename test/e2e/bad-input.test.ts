/** What a user gets wrong, and is told: one clear line, the exit code that fits, a summary, and nothing half-written. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { errorLines, lockstep, lockstepDone } from '../support/lockstep-command.js';
import { checkpointFiles, readSummary } from '../support/run-files.js';

const pointsJob = 'test/e2e/fixtures/points.ts';

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

let numRuns = 0;

/** Runs `lockstep COMMAND ARGS` in a run directory of its own, and expects one line with this code. */
async function refused(command: 'train' | 'coordinator', args: readonly string[], code: string): Promise<Refusal> {
  const runDir = folder.at(`run-${++numRuns}`);
  const summary = `${runDir}.json`;
  const ended = await lockstep([command, ...args, '--run-dir', runDir, '--summary', summary]);
  const [error = '', ...more] = errorLines(ended);
  expect(error).toContain(`[${code}]`);
  expect(more).toEqual([]);
  expect(ended.stdout).toEqual([]);
  expect(ended.stderr.join('\n')).not.toMatch(/^ +at /m); // no stack
  const { ok, error: told } = readSummary(summary);
  expect({ ok, code: told?.code }).toEqual({ ok: false, code });
  expect(error).toContain(told?.message);
  expect(checkpointFiles(runDir)).toEqual([]);
  return { error, exitCode: ended.exitCode, runDir };
}

interface Refusal {
  readonly error: string;
  readonly exitCode: number | null;
  readonly runDir: string;
}

const jobWith = (fields: string): string => `
import { adam, arrays, csv, defineJob, tf } from 'lockstep';
export default defineJob({
  name: 'wrong',
  model: () => tf.sequential({ layers: [tf.layers.dense({ inputShape: [2], units: 3, activation: 'softmax' })] }),
  loss: 'sparseCategoricalCrossentropy',
  data: { train: arrays({ x: [[1, 2], [3, 4], [5, 6], [7, 8]], y: [0, 1, 2, 0] }) },
  optimizer: adam(),
  batchSize: 2,
  ${fields}
});`;

describe('a job file that', () => {
  test('is not there is named', async () => {
    const { error, exitCode, runDir } = await refused('train', [folder.at('absent.ts')], 'ERR_JOB_NOT_FOUND');
    expect(error).toContain(folder.at('absent.ts'));
    expect(exitCode).toBe(2);
    expect(existsSync(runDir)).toBe(false);
  });

  test.each([
    ['throws', 'throw new Error("no such luck");', 'ERR_JOB_LOAD', [/wrong\.ts threw .*no such luck/]],
    ['is no TypeScript', 'export default {\n  name: = 3,\n};', 'ERR_JOB_LOAD', [/wrong\.ts:2:9/]],
    ['imports what is not there', "import './absent.js';", 'ERR_JOB_LOAD', [/absent\.js/, /wrong\.ts:1:8/]],
    ['has no default export', 'export const job = 1;', 'ERR_JOB_LOAD', [/no default export/]],
    [
      'has several wrong fields',
      jobWith("batchSize: -1, epochs: 'two', lerningRate: 3, data: { train: [1, 2] }"),
      'ERR_JOB_INVALID',
      [/batchSize: /, /epochs: /, /lerningRate/, /data\.train: expected a data source/],
    ],
    ['has an unknown loss', jobWith("loss: 'crossEntropie'"), 'ERR_JOB_INVALID', [/crossEntropie/]],
    ['has an unknown metric', jobWith("metrics: ['acuracy']"), 'ERR_JOB_INVALID', [/acuracy/]],
    ['has a batch smaller than its slots', jobWith('slots: 3'), 'ERR_JOB_INVALID', [/batchSize \(2\).*slots \(3\)/]],
  ])('%s is refused in words', async (_, text, code, patterns) => {
    const { error, exitCode } = await refused('train', [await folder.write('wrong.ts', text)], code);
    for (const pattern of patterns) expect(error).toMatch(pattern);
    expect(exitCode).toBe(2);
  });
});

describe('an option that', () => {
  test.each([
    ['sets nothing', ['--set', 'nonsense'], 'ERR_OVERRIDE_INVALID', /expected key=value/],
    ['sets a field that a job does not have', ['--set', 'batchsize=4'], 'ERR_JOB_INVALID', /batchsize/],
    ['sets a field to what it cannot be', ['--set', 'batchSize=many'], 'ERR_JOB_INVALID', /batchSize: .*number/],
    ['sets a function', ['--set', 'model=3'], 'ERR_OVERRIDE_INVALID', /"model" is a function/],
    ['wants more workers than slots', ['--workers', '3', '--set', 'slots=2'], 'ERR_JOB_INVALID', /3 workers.*2 slots/],
  ])('%s is refused', async (_, args, code, pattern) => {
    const { error, exitCode, runDir } = await refused('train', [pointsJob, ...args], code);
    expect(error).toMatch(pattern);
    expect(exitCode).toBe(2);
    expect(existsSync(runDir)).toBe(false);
  });

  test('does not exist is refused before anything is done', async () => {
    const ended = await lockstep(['train', pointsJob, '--wrokers', '2', '--run-dir', folder.at('usage')]);
    expect(ended).toMatchObject({ exitCode: 2, stdout: [] });
    expect(ended.stderr[0]).toMatch(/unknown option '--wrokers'.*/);
    expect(existsSync(folder.at('usage'))).toBe(false);
  });
});

describe('a data file with', () => {
  const csvJob = jobWith("data: { train: csv('rows.csv', { label: 2 }) }");

  test.each([
    ['a word', '1,2,0\n3,four,1\n5,6,2\n', 'ERR_DATA_INVALID', /rows\.csv, line 2, column 2: found "four"/],
    ['NaN', '1,2,0\n3,4,1\nNaN,6,2\n', 'ERR_DATA_INVALID', /rows\.csv, line 3, column 1: found "NaN"/],
    ['a short row', '1,2,0\n3,4,1\n5,2\n', 'ERR_DATA_INVALID', /rows\.csv, line 3: found 2 columns, expected 3/],
    ['a label that is no class', '1,2,0\n3,4,1\n5,6,3\n1,1,1\n', 'ERR_LABEL_OUT_OF_RANGE', /3.*rows\.csv, line 3/],
    ['no rows', '', 'ERR_DATA_INVALID', /rows\.csv: found no rows/],
    ['fewer rows than a batch', '1,2,0\n', 'ERR_JOB_INVALID', /1 row.*batch/],
  ])('%s is refused with its place', async (_, rows, code, pattern) => {
    await folder.write('rows.csv', rows);
    const { error, exitCode } = await refused('train', [await folder.write('csv-job.ts', csvJob)], code);
    expect(error).toMatch(pattern);
    expect(exitCode).toBe(2);
  });

  test('a name that is not there is refused with where it was looked for', async () => {
    const job = await folder.write('no-data.ts', jobWith("data: { train: csv('gone.csv', { label: 2 }) }"));
    const { error, exitCode } = await refused('train', [job], 'ERR_DATA_NOT_FOUND');
    expect(error).toContain(folder.at('gone.csv'));
    expect(exitCode).toBe(2);
  });
});

describe('first weights', () => {
  const weights = fileURLToPath(new URL('../golden/mlp/initial.safetensors', import.meta.url));

  test('of another model are refused before anything starts, with all that does not fit', async () => {
    const names = "{ 'dense3/*': null, 'dense2/*': 'dense_Dense1/*' }";
    const job = jobWith(`initialWeights: { file: '${weights}', names: ${names} }`);
    const { error, exitCode, runDir } = await refused(
      'train',
      [await folder.write('weights-job.ts', job)],
      'ERR_MODEL_INVALID',
    );
    expect(error).toContain(
      '"dense2/kernel" is [128, 128] in the file and [2, 3] in the model; "dense2/bias" is [128] in the file and [3] in the ' +
        'model; the model has no place for "dense1/bias"; the model has no place for "dense1/kernel".',
    );
    expect(exitCode).toBe(2);
    expect(existsSync(`${runDir}/metrics.jsonl`) && readFileSync(`${runDir}/metrics.jsonl`, 'utf8')).toBeFalsy();
  });

  test('that are not there are named', async () => {
    const job = await folder.write('no-weights.ts', jobWith("initialWeights: 'gone.safetensors'"));
    const { error, exitCode } = await refused('train', [job], 'ERR_DATA_NOT_FOUND');
    expect(error).toContain(folder.at('gone.safetensors'));
    expect(exitCode).toBe(2);
  });
});

describe('a coordinator', () => {
  test('refuses a port that is in use, and says which', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    try {
      const address = other.address();
      const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
      const args = [pointsJob, '--workers', '1', '--listen', `127.0.0.1:${port}`];
      const { error, exitCode } = await refused('coordinator', args, 'ERR_ADDRESS_IN_USE');
      expect(error).toContain(`ws://127.0.0.1:${port} is in use`);
      expect(exitCode).toBe(2);
    } finally {
      other.close();
    }
  });

  test('does not listen beyond this host without a token', async () => {
    const args = [pointsJob, '--workers', '1', '--listen', '0.0.0.0:0'];
    const { error, exitCode } = await refused('coordinator', args, 'ERR_LISTEN_NOT_ALLOWED');
    expect(error).toMatch(/--token-file/);
    expect(exitCode).toBe(2);
  });

  test('does not take a token that can be guessed', async () => {
    const token = await folder.write('short-token', 'secret\n');
    const args = [pointsJob, '--workers', '1', '--token-file', token];
    const { error, exitCode } = await refused('coordinator', args, 'ERR_TOKEN_INVALID');
    expect(error).toMatch(/6 characters; at least 16/);
    expect(exitCode).toBe(2);
  });
});

describe('a run directory that holds a run', () => {
  const first = () => ['train', pointsJob, '--workers', '1', '--set', 'slots=2', '--run-dir', folder.at('held')];
  const contents = (): string[] => readdirSync(folder.at('held'), { recursive: true }).map(String).toSorted();

  test('is left as it is without --resume, and with another batch size', async () => {
    await lockstepDone([...first(), '--epochs', '1']);
    const before = contents();

    const again = await lockstep(first());
    expect(errorLines(again)).toEqual([expect.stringMatching(/holds a run.*--resume.*\[ERR_RUN_DIR\]$/)]);
    expect(again.exitCode).toBe(2);

    const numbers = ['batchSize=24', 'microBatches=2', 'seed=3'].flatMap((setting) => ['--set', setting]);
    const changed = await lockstep([...first(), '--resume', ...numbers]);
    expect(errorLines(changed)).toEqual([
      expect.stringMatching(
        /seed was 0 and is 3; batchSize was 22 and is 24; microBatches was 1 and is 2.*\[ERR_RESUME_MISMATCH\]$/,
      ),
    ]);
    expect(changed.exitCode).toBe(2);
    expect(contents()).toEqual(before);
  });

  test('is needed to resume', async () => {
    const ended = await lockstep(['train', pointsJob, '--resume'], { cwd: process.cwd() });
    expect(errorLines(ended)).toEqual([expect.stringMatching(/--run-dir.*\[ERR_USAGE\]$/)]);
    expect(ended.exitCode).toBe(2);
  });
});
