/** Workers that do not fit the run: each is told what differs, with both values, and the others train on as if it never came. */
import { cp, symlink, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { errorLines, lockstep, LockstepProcess, type Ended } from '../support/lockstep-command.js';
import { readSummary } from '../support/run-files.js';

const packageRoot = fileURLToPath(new URL('../..', import.meta.url));

const job = `
import { readFileSync } from 'node:fs';
import { adam, csv, defineJob, tf } from 'lockstep';

const units = Number(readFileSync(new URL('units.txt', import.meta.url), 'utf8'));

export default defineJob({
  name: 'shared',
  model: () => tf.sequential({ layers: [
    tf.layers.dense({ name: 'wide', inputShape: [2], units, activation: 'relu' }),
    tf.layers.dense({ name: 'last', units: 3, activation: 'softmax' }),
  ] }),
  loss: 'sparseCategoricalCrossentropy',
  data: { train: csv('rows.csv', { label: 2 }) },
  optimizer: adam(),
  batchSize: 4,
  epochs: 4,
});`;
const rows = Array.from({ length: 16 }, (_, i) => `${i},${(7 * i) % 5},${i % 3}\n`).join('');

let folder: JobFolder;
let token: string;
beforeAll(async () => {
  folder = await JobFolder.make();
  token = await folder.write('token', 'a secret that only this test knows\n');
});
afterAll(() => folder[Symbol.asyncDispose]());

/** What one host has. */
async function host(name: string, files: Readonly<Record<string, string>> = {}): Promise<string> {
  const all = { 'job.ts': job, 'rows.csv': rows, 'units.txt': '8\n', ...files };
  for (const [file, content] of Object.entries(all)) await folder.write(`${name}/${file}`, content);
  return folder.at(name, 'job.ts');
}

/** A host that has another version of Lockstep; returns its command and its job, which imports that version. */
async function hostOfVersion(version: string): Promise<{ readonly entry: string; readonly jobFile: string }> {
  const jobFile = await host('other-version');
  const root = folder.at('other-version', 'node_modules', 'lockstep');
  await cp(`${packageRoot}/dist`, `${root}/dist`, { recursive: true });
  await cp(`${packageRoot}/package.json`, `${root}/package.json`);
  await symlink(`${packageRoot}/node_modules`, `${root}/node_modules`);
  await writeFile(`${root}/dist/src/version.js`, `export const lockstepVersion = '${version}';\n`);
  return { entry: `${root}/dist/bin/lockstep.js`, jobFile };
}

function expectRefusal(ended: Ended, code: string, ...patterns: readonly RegExp[]): void {
  expect(errorLines(ended)).toHaveLength(1);
  const [error] = errorLines(ended);
  expect(error).toContain(`[${code}]`);
  for (const pattern of patterns) expect(error).toMatch(pattern);
  expect(ended.exitCode).toBe(1);
}

test('a worker with another job, other data, another model, version or token is refused, and the run ends well', async () => {
  const args = [await host('coordinator'), '--workers', '2', '--token-file', token, '--run-dir', folder.at('run')];
  const coordinator = LockstepProcess.start(['coordinator', ...args, '--summary', folder.at('summary.json')]);
  const [, url = ''] = await coordinator.line(/--join (\S+)/);
  const join = ['worker', '--join', url, '--token-file', token];
  const first = LockstepProcess.start([...join, await host('first'), '--id', 'first']);
  await coordinator.line(/1 of 2 workers are ready/);

  const otherJob = await host('other-job', { 'job.ts': job.replace('batchSize: 4', 'batchSize: 8') });
  expectRefusal(
    await lockstep([...join, otherJob, '--id', 'other-job']),
    'ERR_WORKER_MISMATCH',
    /job batchSize: the worker has 8, the run has 4/,
    /digest of the job file: the worker has [0-9a-f]{64}, the run has [0-9a-f]{64}/,
  );
  const otherData = await host('other-data', { 'rows.csv': rows.replace('3,1,0', '3,2,0') });
  expectRefusal(
    await lockstep([...join, otherData, '--id', 'other-data']),
    'ERR_WORKER_MISMATCH',
    /digest of the train data: the worker has \S+, the run has \S+/,
  );
  const otherModel = await host('other-model', { 'units.txt': '9\n' });
  expectRefusal(
    await lockstep([...join, otherModel, '--id', 'other-model']),
    'ERR_WORKER_MISMATCH',
    /the worker has wide\/kernel \[2, 9\], the run has wide\/kernel \[2, 8\]/,
  );
  const { entry, jobFile } = await hostOfVersion('9.8.7');
  expectRefusal(
    await lockstep([...join, jobFile, '--id', 'other-version'], { entry }),
    'ERR_WORKER_MISMATCH',
    /Lockstep 9\.8\.7, the coordinator \d+\.\d+\.\d+/,
  );
  const otherToken = await folder.write('other-token', 'a secret of some other run\n');
  expectRefusal(
    await lockstep(['worker', '--join', url, '--token-file', otherToken, folder.at('first', 'job.ts')]),
    'ERR_AUTHENTICATION',
    /token/,
  );
  expectRefusal(await lockstep([...join, folder.at('first', 'job.ts'), '--id', 'first']), 'ERR_PROTOCOL', /first/);

  const second = LockstepProcess.start([...join, await host('second'), '--id', 'second']);
  expect(await second.ended).toMatchObject({ exitCode: 0 });
  expect(await first.ended).toMatchObject({ exitCode: 0 });
  const { exitCode, stderr } = await coordinator.ended;
  expect(exitCode).toBe(0);
  expect(readSummary(folder.at('summary.json'))).toMatchObject({ ok: true, steps: 16, generations: 1 });
  const log = stderr.join('\n');
  for (const id of ['other-job', 'other-data', 'other-model']) expect(log).toContain(`refused worker ${id}`);
  expect(log).toMatch(/refused .*9\.8\.7/);
  expect(log).toMatch(/refused .*its token is another one/);
});
