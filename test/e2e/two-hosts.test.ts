/** Four workers on what they take for two hosts: each has another host name, so they meet over TCP and reduce at home first. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { canNameHosts, lockstepDone, LockstepProcess } from '../support/lockstep-command.js';
import { readMetrics, readSummary } from '../support/run-files.js';

const mayNameHosts = canNameHosts();

let folder: JobFolder;
beforeAll(async () => {
  if (!mayNameHosts) process.stderr.write('two-hosts.test.ts: skipped, because this user may not name a host\n');
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

const job = 'examples/digits/job.ts';
const size = ['--epochs', '1', '--set', 'slots=4'];

test.runIf(mayNameHosts)('two hosts of two workers give the bits of one worker', async () => {
  const reference = folder.at('one');
  await lockstepDone([
    'train',
    job,
    '--workers',
    '1',
    ...size,
    '--run-dir',
    reference,
    '--summary',
    `${reference}.json`,
  ]);

  const token = await folder.write('token', 'a secret that only this test knows\n');
  const run = folder.at('two-hosts');
  const files = ['--token-file', token, '--run-dir', run, '--summary', `${run}.json`];
  const coordinator = LockstepProcess.start(['coordinator', job, '--workers', '4', ...size, ...files]);
  const [, url = ''] = await coordinator.line(/--join (\S+)/);
  const workers = ['east', 'west', 'east', 'west'].map((hostName, i) => {
    const args = ['worker', '--join', url, '--token-file', token, '--listen', '127.0.0.1:0', '--id', `w${i}`, job];
    return LockstepProcess.start(args, { hostName });
  });
  await Promise.all(workers.map((worker) => worker.line(/summed on each host first: 2 hosts of 2 workers/)));
  for (const { ended } of [...workers, coordinator]) expect(await ended).toMatchObject({ exitCode: 0 });

  const { weightsSha256 } = readSummary(`${reference}.json`);
  expect(readSummary(`${run}.json`)).toMatchObject({ ok: true, workers: 4, weightsSha256 });
  expect(readMetrics(run)).toEqual(readMetrics(reference));
});
