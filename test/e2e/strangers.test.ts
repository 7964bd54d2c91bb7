/** Strangers at the doors of a coordinator and a worker: refused, logged, and the run ends as if they had not come. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readRunFile } from '../../coordinator/run-folder.js';
import { JobFolder } from '../support/job-folder.js';
import { lockstepDone, LockstepProcess } from '../support/lockstep-command.js';
import { readMetrics, readSummary } from '../support/run-files.js';
import { Stranger } from '../support/stranger.js';

const job = 'test/e2e/fixtures/points.ts';
const size = ['--workers', '2', '--epochs', '30'];
/** Short enough to wait for, long enough for a worker on a busy machine. */
const authentication = ['--authentication-timeout-ms', '3000'];

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

/** The second to tenth byte of a WebSocket frame: a binary message of 2^62 bytes. */
const hugeFrame = Buffer.from([0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

/** All that needs no token, and a token of somebody else. */
async function knock(address: string): Promise<void> {
  const stranger = new Stranger(address);
  const idle = stranger.saysNothing();
  expect(await stranger.says(randomBytes(4096))).toMatch(/^HTTP\/1\.1 400/);
  expect(await stranger.says(Buffer.alloc(100_000, 'x'))).toMatch(/^HTTP\/1\.1 4\d\d/);
  const hugeBody = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999999\r\nConnection: close\r\n\r\n';
  expect(await stranger.says(hugeBody)).toMatch(/^HTTP\/1\.1 404/);
  expect(await stranger.says('GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n')).toMatch(/^HTTP\/1\.1 404/);
  const bareUpgrade =
    'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n';
  expect(await stranger.says(bareUpgrade)).toMatch(/^HTTP\/1\.1 401.*did not answer the challenge/s);
  await expect(stranger.enters('the secret of another run')).rejects.toThrow(/token/);
  expect(await idle).toMatch(/^HTTP\/1\.1 4\d\d/);
}

test('strangers at the coordinator and at a worker change nothing', async () => {
  await lockstepDone(['train', job, ...size, '--run-dir', folder.at('quiet'), '--summary', folder.at('quiet.json')]);

  const files = ['--run-dir', folder.at('run'), '--summary', folder.at('summary.json')];
  const coordinator = LockstepProcess.start(['coordinator', job, ...size, ...files, ...authentication]);
  const [, url = '', tokenFile = ''] = await coordinator.line(/--join (\S+) --token-file (\S+)/);
  const token = (await readFile(tokenFile, 'utf8')).trim();
  const join = ['worker', '--join', url, '--token-file', tokenFile, ...authentication];
  const first = LockstepProcess.start([...join, '--listen', '127.0.0.1:0', '--id', 'c']);
  const [, address = ''] = await first.line(/reach this one at (\S+)/);
  await coordinator.line(/1 of 2 workers are ready/);

  await Promise.all([knock(url), knock(address)]);
  const atCoordinator = new Stranger(url);
  await atCoordinator.entersAndBreaks(token, hugeFrame);
  await atCoordinator.entersAndBreaks(token, randomBytes(256));
  expect(await atCoordinator.entersAndSays(token, { type: 'generation', generation: -1 })).toMatch(/does not fit/);
  expect(await atCoordinator.entersAndSays(token, ['hello', null, 2 ** 60])).toMatch(/does not fit/);
  const silent = await atCoordinator.enters(token);
  expect((await silent.closed).reason).toMatch(/No first message .* within 3000 ms/);

  // A worker lets peers wait until it has a generation; these are there first. One is b, had it not the wrong generation.
  const atWorker = new Stranger(address);
  const { runId } = await readRunFile(folder.at('run'));
  const otherGeneration = { type: 'peer-hello', runId, generation: 99, rank: 0, workerId: 'b', memory: null };
  const intruders = [
    atWorker.entersAndSays(token, otherGeneration),
    atWorker.entersAndSays(token, { type: 'peer-hello', generation: 'one' }),
    atWorker.entersAndSays(token, { anything: randomBytes(1000) }),
    atWorker.entersAndBreaks(token, hugeFrame).then(() => 'broken'),
  ];
  await intruders.at(-1);
  const second = LockstepProcess.start([...join, '--id', 'b']);
  await coordinator.line(/^step \d+ of/);
  intruders.push(atWorker.entersAndSays(token, otherGeneration)); // and this one while it trains
  for (const reason of await Promise.all(intruders)) expect(reason).toMatch(/A peer came as|does not fit|broken/);

  for (const { ended } of [first, second, coordinator]) expect(await ended).toMatchObject({ exitCode: 0 });
  const [quiet, visited] = [readSummary(folder.at('quiet.json')), readSummary(folder.at('summary.json'))];
  expect(visited.weightsSha256).toBe(quiet.weightsSha256);
  expect(readMetrics(folder.at('run'))).toEqual(readMetrics(folder.at('quiet')));
  expect(visited.generations).toBe(1);

  for (const { stderr } of [coordinator, first]) {
    const log = stderr.join('\n');
    expect(log).toMatch(/warn: refused a connection: Parse Error/);
    expect(log).toMatch(/warn: refused a connection from 127\.0\.0\.1: it did not answer the challenge/);
    expect(log).toMatch(/warn: refused a connection from 127\.0\.0\.1: its token is another one/);
  }
  expect(first.stderr.join('\n')).toMatch(/warn: refused a peer: A peer came as .*generation 99.*expected/);
  expect(coordinator.stderr.join('\n')).toMatch(/warn: refused a connection .*does not fit/);
});
