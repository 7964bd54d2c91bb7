/** `data: { serve: true }`: workers that have no copy of the data read it from the coordinator. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { lockstep, lockstepDone, LockstepProcess } from '../support/lockstep-command.js';
import { readMetrics, readSummary } from '../support/run-files.js';

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
  await folder.copy('examples/digits/job.ts', 'with-data/job.ts');
  await folder.copy('examples/digits/digits.csv.gz', 'with-data/digits.csv.gz');
  await folder.copy('examples/digits/job.ts', 'without-data/job.ts');
});
afterAll(() => folder[Symbol.asyncDispose]());

const size = ['--workers', '2', '--set', 'slots=3', '--steps', '30'];

test('workers without the data give the bits of workers that have it', async () => {
  const own = ['--run-dir', folder.at('own'), '--summary', folder.at('own.json')];
  await lockstepDone(['train', folder.at('with-data/job.ts'), ...size, ...own]);

  const served = ['--run-dir', folder.at('served'), '--summary', folder.at('served.json'), '--set', 'data.serve=true'];
  const coordinator = LockstepProcess.start(['coordinator', folder.at('with-data/job.ts'), ...size, ...served]);
  const [, url = '', token = ''] = await coordinator.line(/--join (\S+) --token-file (\S+)/);
  const worker = ['worker', '--join', url, '--token-file', token, folder.at('without-data/job.ts')];
  await Promise.all([lockstepDone(worker), lockstepDone(worker)]);
  expect(await coordinator.ended).toMatchObject({ exitCode: 0 });

  const [expected, found] = [readSummary(folder.at('own.json')), readSummary(folder.at('served.json'))];
  expect(found.weightsSha256).toBe(expected.weightsSha256);
  expect(readMetrics(folder.at('served'))).toEqual(readMetrics(folder.at('own')));
  expect(readMetrics(folder.at('own'))).toHaveLength(30 + 1);
});

test('without it, a worker that lacks the data says which file it looked for', async () => {
  const ended = await lockstep(['train', folder.at('without-data/job.ts'), ...size, '--run-dir', folder.at('none')]);
  expect(ended.exitCode).toBe(2);
  expect(ended.stderr.join('\n')).toMatch(/error: .*digits\.csv\.gz cannot be opened.*\[ERR_DATA_NOT_FOUND\]/);
});
