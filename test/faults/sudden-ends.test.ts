/** Processes that end without a word: the others notice, say who and why, and nothing is left behind. */
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { defaultLimits } from '../../src/protocol/limits.js';
import { formatEndpoint } from '../../transport/endpoint.js';
import { Listener } from '../../transport/listener.js';
import { JobFolder } from '../support/job-folder.js';
import { errorLines, lockstep, lockstepDone, LockstepProcess } from '../support/lockstep-command.js';
import { allEnded, isRunning } from '../support/process-end.js';
import { runningStatus } from '../support/run-status.js';
import { checkpointFiles, readMetrics, readSummary } from '../support/run-files.js';

/** Far more steps than fit into the test. */
const endless = ['--set', 'epochs=1000000', '--set', 'checkpointsKept=2'];

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

/** With a coordinator that is away. */
const shortPatience = ['--coordinator-timeout-ms', '1000'];

const points = ['train', 'test/e2e/fixtures/points.ts', '--set', 'slots=4', '--set', 'threads=1'];

test('a worker that is killed is replaced, and the weights are those of a run in which nobody died', async () => {
  const files = ['--run-dir', folder.at('killed'), '--summary', folder.at('killed.json')];
  const run = LockstepProcess.start([...points, '--workers', '3', ...endless, ...files]);
  await run.line(/^epoch 1:/);
  const { workers } = await runningStatus(folder.at('killed'), () => true);
  process.kill(workers.find(({ workerId }) => workerId === 'w1')?.pid ?? NaN, 'SIGKILL');
  await run.line(/^worker w1 is lost at step \d+ \(it was killed by SIGKILL\): 2 workers go on with its slots$/);
  await run.line(/^worker w1\.2 has joined at step \d+: 3 workers go on$/);
  run.signal('SIGINT');
  expect(await run.ended).toMatchObject({ exitCode: 0 });

  const summary = readSummary(folder.at('killed.json'));
  expect(summary).toMatchObject({ ok: true, generations: 3 });
  expect(summary.recoveries).toMatchObject([
    { kind: 'lost', workerId: 'w1', why: 'it was killed by SIGKILL', detectedMs: 0 },
    { kind: 'joined', workerId: 'w1.2' },
  ]);
  await allEnded(workers.map(({ pid }) => pid));

  const undisturbed = ['--run-dir', folder.at('undisturbed'), '--summary', folder.at('undisturbed.json')];
  await lockstepDone([...points, ...endless, ...undisturbed, '--steps', String(summary.steps)]);
  expect(readSummary(folder.at('undisturbed.json')).weightsSha256).toBe(summary.weightsSha256);
  const steps = (name: string): unknown[] => readMetrics(folder.at(name)).map(({ step, loss }) => [step, loss]);
  expect(steps('killed')).toEqual(steps('undisturbed'));
});

test('the last worker that is killed, and not replaced, ends the run, which names the last checkpoint', async () => {
  const files = ['--run-dir', folder.at('last'), '--summary', folder.at('last.json')];
  const run = LockstepProcess.start([...points, '--workers', '2', '--no-replace', ...endless, ...files]);
  await run.line(/^epoch 1:/); // a checkpoint comes with it
  const { workers } = await runningStatus(folder.at('last'), ({ checkpoint }) => checkpoint !== null);
  for (const { pid } of workers) process.kill(pid, 'SIGKILL');

  const ended = await run.ended;
  expect(ended.exitCode).toBe(1);
  const [error = '', ...more] = errorLines(ended);
  expect(more).toEqual([]);
  expect(error).toMatch(/^The run needs 1 worker\(s\) and has 0: all have ended, and none is replaced\. Worker w\d /);
  expect(error).toMatch(/is lost after step \d+: it was killed by SIGKILL\..*--resume.*\[ERR_WORKER_LOST\]$/);
  const summary = readSummary(folder.at('last.json'));
  expect(summary).toMatchObject({ ok: false, error: { code: 'ERR_WORKER_LOST' }, weightsSha256: null });
  expect(error).toContain(`The last checkpoint is ${summary.checkpoint ?? '-'} `);
  expect(existsSync(summary.checkpoint ?? '')).toBe(true);
  await allEnded(workers.map(({ pid }) => pid));
});

test('workers that are too few, and get no others, take their state to a checkpoint before the run ends', async () => {
  const digits = ['train', 'examples/digits/job.ts', '--set', 'slots=3', '--set', 'threads=1'];
  const files = ['--run-dir', folder.at('few'), '--summary', folder.at('few.json')];
  const patience = ['--min-workers', '2', '--workers-timeout-ms', '8000', '--no-replace'];
  const run = LockstepProcess.start([...digits, '--workers', '3', ...patience, ...endless, ...files]);
  await run.line(/^epoch 1:/);
  const { workers } = await runningStatus(folder.at('few'), () => true);
  for (const { pid } of workers.slice(0, 2)) process.kill(pid, 'SIGKILL');

  const ended = await run.ended;
  expect(ended.exitCode).toBe(1);
  const { steps, checkpoint, ...summary } = readSummary(folder.at('few.json'));
  expect(summary).toMatchObject({ ok: false, error: { code: 'ERR_WORKER_LOST' }, weightsSha256: null });
  // Not that of the last epoch's end.
  expect(checkpoint).toMatch(new RegExp(`step-0*${steps}\\.safetensors$`));
  const [error] = errorLines(ended);
  expect(error).toMatch(/^The run needs 2 worker\(s\) and has 1: .*--resume.*\[ERR_WORKER_LOST\]$/);
  expect(error).toContain(`The last checkpoint is ${checkpoint ?? '-'} (step ${steps})`);
  await allEnded(workers.map(({ pid }) => pid));

  const more = [...endless, '--steps', String(steps + 5), '--workers', '1'];
  await lockstepDone([...digits, ...more, ...files, '--resume']);
  const undisturbed = ['--run-dir', folder.at('enough'), '--summary', folder.at('enough.json')];
  await lockstepDone([...digits, ...more, ...undisturbed]);
  expect(readSummary(folder.at('few.json')).weightsSha256).toBe(readSummary(folder.at('enough.json')).weightsSha256);
});

test('a worker that is killed before the first step is replaced too', async () => {
  const args = ['test/faults/fixtures/never-reads.ts', '--workers', '2', '--run-dir', folder.at('early')];
  const run = LockstepProcess.start(['train', ...args]);
  await run.line(/coordinator at ws:/);
  const { workers } = await runningStatus(folder.at('early'), (status) => status.workers.length === 2);
  process.kill(workers.find(({ workerId }) => workerId === 'w0')?.pid ?? NaN, 'SIGKILL');
  await run.line(/^worker w0\.2 starts in the place of w0$/);
  await runningStatus(folder.at('early'), (status) => status.workers.some(({ workerId }) => workerId === 'w0.2'));
  run.signal('SIGINT');
  const ended = await run.ended;
  expect(ended.exitCode).toBe(1);
  expect(errorLines(ended)).toEqual([expect.stringMatching(/before its first step.*\[ERR_INTERRUPTED\]$/)]);
  await allEnded(workers.map(({ pid }) => pid));
});

test('workers of a coordinator that never comes back end by themselves, and the first leaves their state', async () => {
  const job = ['test/e2e/fixtures/points.ts', '--set', 'slots=2', '--set', 'threads=1', ...endless];
  const coordinator = LockstepProcess.start([
    'coordinator',
    ...job,
    '--workers',
    '2',
    '--run-dir',
    folder.at('orphans'),
  ]);
  const [, url = '', token = ''] = await coordinator.line(/--join (\S+) --token-file (\S+)/);
  const workers = ['a', 'b'].map((id) =>
    LockstepProcess.start(['worker', '--join', url, '--token-file', token, '--id', id, ...shortPatience]),
  );
  await coordinator.line(/^step \d+ of/);
  coordinator.signal('SIGKILL');

  expect(await coordinator.ended).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
  const errors: string[] = [];
  for (const { ended } of workers) {
    const { exitCode, stderr } = await ended;
    errors.push(...errorLines({ stderr }));
    expect(exitCode).toBe(1);
  }
  const gone = /coordinator is gone.*none has come for 1000 ms\..*\[ERR_COORDINATOR_LOST\]$/;
  expect(errors).toEqual([expect.stringMatching(gone), expect.stringMatching(gone)]);
  // That of rank 0, and the other too where rank 0 has ended before it gives up.
  const left = errors.flatMap((error) => [...error.matchAll(/The state after step (\d+) is (\S+); go on/g)]);
  const [, step = '', path = ''] = left.toSorted(([, one], [, other]) => Number(one) - Number(other)).at(-1) ?? [];
  expect(path).toBe(folder.at('orphans', 'checkpoints', checkpointFiles(folder.at('orphans')).at(-1) ?? ''));

  const more = ['train', ...job, '--workers', '1', '--steps', String(Number(step) + 5)];
  const files = ['--run-dir', folder.at('orphans'), '--summary', folder.at('orphans.json'), '--resume'];
  const { stderr } = await lockstepDone([...more, ...files]);
  await lockstepDone([...more, '--run-dir', folder.at('cared'), '--summary', folder.at('cared.json')]);
  expect(stderr).not.toContainEqual(expect.stringContaining('passed over'));
  expect(readSummary(folder.at('orphans.json')).weightsSha256).toBe(readSummary(folder.at('cared.json')).weightsSha256);
});

test('a worker that stands still without a coordinator, as another has died, leaves the state too', async () => {
  const job = 'test/faults/fixtures/long-epoch.ts';
  const run = LockstepProcess.start([
    'train',
    job,
    '--workers',
    '2',
    '--run-dir',
    folder.at('still'),
    ...shortPatience,
  ]);
  await run.line(/coordinator at ws:/);
  const { workers } = await runningStatus(folder.at('still'), ({ step }) => step > 10);
  run.signal('SIGKILL');
  await allEnded([run.pid]);
  process.kill(workers.find(({ rank }) => rank === 0)?.pid ?? NaN, 'SIGKILL');
  await allEnded(workers.map(({ pid }) => pid));
  expect(checkpointFiles(folder.at('still'))).toEqual([expect.stringMatching(/^step-\d+\.safetensors$/)]);
});

test('workers of a train command that is killed end in time, and the run goes on from its checkpoint', async () => {
  const args = ['train', 'test/e2e/fixtures/points.ts', '--workers', '2', '--run-dir', folder.at('resumed')];
  const run = LockstepProcess.start([...args, ...endless, ...shortPatience]);
  await run.line(/^epoch 1:/);
  const { workers } = await runningStatus(folder.at('resumed'), ({ checkpoint }) => checkpoint !== null);
  run.signal('SIGKILL');
  await run.ended;
  await allEnded(workers.map(({ pid }) => pid));
  const step = Number(/\d+/.exec(checkpointFiles(folder.at('resumed')).at(-1) ?? '')?.[0]);
  const summary = folder.at('resumed.json');
  await lockstepDone([...args, '--resume', '--steps', String(step + 5), ...endless, '--summary', summary]);
  expect(readSummary(summary)).toMatchObject({ ok: true, steps: step + 5 });
});

test('the second Ctrl-C ends a run that hangs at once, and leaves no process', async () => {
  const files = ['--run-dir', folder.at('hangs'), '--summary', folder.at('hangs.json')];
  const run = LockstepProcess.start(['train', 'test/faults/fixtures/hangs.ts', '--workers', '2', ...files]);
  await run.line(/^step 1 of/);
  const { workers } = await runningStatus(folder.at('hangs'), (status) => status.workers.length === 2);
  run.signal('SIGINT');
  await run.line(/^Stopping after this step; press Ctrl-C again to exit at once\.$/);
  expect(workers.filter(({ pid }) => isRunning(pid))).toHaveLength(2);
  run.signal('SIGINT');
  expect(await run.ended).toMatchObject({ exitCode: 130, signal: null });
  await allEnded(workers.map(({ pid }) => pid));
  expect(readSummary(folder.at('hangs.json'))).toMatchObject({ ok: false, steps: 1 });
});

test('a worker that hangs in a validation is replaced, and the run goes on', async () => {
  const run = LockstepProcess.start([
    ...['train', 'test/faults/fixtures/stuck-validation.ts', '--workers', '2', '--epochs', '3'],
    ...['--between-steps-timeout-ms', '1000', '--run-dir', folder.at('stuck')],
  ]);
  await run.line(
    /^worker w1 is out at step \d+ \(it beats, but has begun no step for \d+ ms, .*\): one worker goes on/,
  );
  expect(await run.ended).toMatchObject({ exitCode: 0 });
});

test('workers that load for ever end the run', async () => {
  const run = LockstepProcess.start([
    ...['train', 'test/faults/fixtures/never-reads.ts', '--workers', '1', '--no-replace'],
    ...['--ready-timeout-ms', '8000', '--run-dir', folder.at('loading')],
  ]);
  const ended = await run.ended;
  expect(ended.exitCode).toBe(1);
  expect(errorLines(ended)).toMatchObject([expect.stringContaining('has not got ready')]);
});

test('a worker ends when what it reaches takes its connection and says nothing', async () => {
  const limits = { ...defaultLimits, connectTimeoutMs: 1000 };
  const endpoint = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
  const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
  const listening = { endpoint, token: null, limits, maxMessageBytes: limits.maxControlBytes, log };
  const silent = await Listener.listen({ ...listening, onConnection: ignore });
  try {
    const url = formatEndpoint(silent.endpoint);
    const ended = await lockstep(['worker', '--join', url, '--connect-timeout-ms', '1000', '--device', 'cpu']);
    expect(ended.exitCode).toBe(1);
    expect(errorLines(ended)).toMatchObject([expect.stringContaining('has not answered within 1000 ms')]);
  } finally {
    await silent.close();
  }
});

function ignore(): void {
  // What is said here is of no interest.
}
