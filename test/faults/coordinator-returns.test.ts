/** A coordinator that is killed in the midst of a run, and started again: training goes on meanwhile, to the same bits. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJournal } from '../../coordinator/journal-file.js';
import { JobFolder } from '../support/job-folder.js';
import { errorLines, lockstep, lockstepDone, LockstepProcess } from '../support/lockstep-command.js';
import { allEnded } from '../support/process-end.js';
import { checkpointFiles, readMetrics, readSummary, type SummaryFile } from '../support/run-files.js';
import { runningStatus } from '../support/run-status.js';

const settings = ['examples/digits/job.ts', '--set', 'slots=4', '--set', 'threads=1', '--epochs', '40'];
/** Three times what it takes where nothing else runs. */
const timeoutMs = 180_000;

let folder: JobFolder;
let whole: SummaryFile;

beforeAll(async () => {
  folder = await JobFolder.make();
  const files = ['--run-dir', folder.at('whole'), '--summary', folder.at('whole.json')];
  await lockstepDone(['train', ...settings, '--workers', '2', ...files]);
  whole = readSummary(folder.at('whole.json'));
}, timeoutMs);
afterAll(() => folder[Symbol.asyncDispose]());

const trainCommand = (name: string, numWorkers: number, more: readonly string[] = []): string[] => [
  ...['train', ...settings, '--workers', String(numWorkers), ...more],
  ...['--run-dir', folder.at(name), '--summary', folder.at(`${name}.json`)],
];

/** SIGKILL, without waiting for its output to end, which its workers may share. */
async function kill(process: LockstepProcess): Promise<void> {
  process.signal('SIGKILL');
  await allEnded([process.pid]);
}

/** Until rank 0 has written a checkpoint after one that is there now. */
async function nextCheckpoint(name: string): Promise<void> {
  const last = checkpointFiles(folder.at(name)).at(-1) ?? '';
  while ((checkpointFiles(folder.at(name)).at(-1) ?? '') <= last) await delay(20);
}

/** By rank, as the journal of the run has them. */
function pidOf(name: string, rank: number): number {
  const journal = readJournal(folder.at(name));
  const workerId = journal?.roster[rank]?.workerId;
  return journal?.launched.find((one) => one.workerId === workerId)?.process.pid ?? NaN;
}

async function endsWell(run: LockstepProcess, name: string): Promise<SummaryFile> {
  const ended = await run.ended;
  expect(ended.exitCode, ended.stderr.join('\n')).toBe(0);
  return readSummary(folder.at(`${name}.json`));
}

function expectEveryStepToldOnce(name: string): void {
  const steps = readMetrics(folder.at(name)).flatMap(({ step, loss }) => (loss === undefined ? [] : step));
  expect(steps).toEqual(Array.from({ length: whole.steps }, (_, i) => i + 1));
}

describe('a run whose coordinator is killed goes on, and has the bits of the undisturbed one:', () => {
  test.each([1, 3])(
    'with %i worker(s), in the midst of training',
    async (numWorkers) => {
      const name = `away-${numWorkers}`;
      const run = LockstepProcess.start(trainCommand(name, numWorkers));
      await run.line(/^epoch 1:/);
      await kill(run);
      const step = readMetrics(folder.at(name)).at(-1)?.step ?? 0;
      await nextCheckpoint(name);
      await nextCheckpoint(name);
      const asked = await lockstep(['status', '--run-dir', folder.at(name)]);
      expect(errorLines(asked)).toEqual([expect.stringContaining(`gone or does not answer; ${numWorkers} worker(s)`)]);
      const back = LockstepProcess.start(trainCommand(name, numWorkers));
      await back.line(/^takes back run [0-9a-f]+, which has lost its coordinator$/);
      await back.line(/^the coordinator is back after \d+ s, at step \d+: /);
      const { workers } = await runningStatus(folder.at(name), () => true);
      expect(workers.map(({ rank }) => rank).toSorted()).toEqual([0, 1, 2].slice(0, numWorkers));

      const summary = await endsWell(back, name);
      expect(summary.weightsSha256).toBe(whole.weightsSha256);
      expect(summary).toMatchObject({ steps: whole.steps, metrics: whole.metrics, generations: 1 });
      expect(summary.recoveries).toEqual([expect.objectContaining({ kind: 'coordinator', recomputedSlots: 0 })]);
      const [recovery] = summary.recoveries as { step: number }[]; // the summary's own words
      expect(recovery?.step).toBeGreaterThan(step + 22);
      expectEveryStepToldOnce(name);
      expect(readMetrics(folder.at(name)).filter(({ loss }) => loss === undefined)).toHaveLength(whole.epochs);
    },
    timeoutMs,
  );

  test('while its workers load', { timeout: timeoutMs }, async () => {
    const run = LockstepProcess.start(trainCommand('early', 2));
    await run.line(/coordinator at ws:/);
    await runningStatus(folder.at('early'), ({ workers }) => workers.length > 0);
    await kill(run);
    const summary = await endsWell(LockstepProcess.start(trainCommand('early', 2)), 'early');
    expect(summary).toMatchObject({ weightsSha256: whole.weightsSha256, steps: whole.steps });
  });

  test('with all its workers, and goes on from the last checkpoint', { timeout: timeoutMs }, async () => {
    const run = LockstepProcess.start(trainCommand('all', 2));
    await run.line(/^epoch 2:/);
    await kill(run);
    for (const rank of [0, 1]) process.kill(pidOf('all', rank), 'SIGKILL');
    const summary = await endsWell(LockstepProcess.start(trainCommand('all', 2)), 'all');
    expect(summary.weightsSha256).toBe(whole.weightsSha256);
  });

  test.each([0, 1])(
    'and rank %i too while it is away',
    async (rank) => {
      const name = `and-${rank}`;
      const run = LockstepProcess.start(trainCommand(name, 3));
      await run.line(/^epoch 1:/);
      await kill(run);
      await nextCheckpoint(name);
      process.kill(pidOf(name, rank), 'SIGKILL');
      const back = LockstepProcess.start(trainCommand(name, 3));
      await back.line(/^worker w\d is lost at step \d+ \(its process is gone\): 2 workers go on with its slots$/);
      const summary = await endsWell(back, name);
      expect(summary.weightsSha256).toBe(whole.weightsSha256);
      expect(summary.recoveries).toContainEqual(expect.objectContaining({ kind: 'coordinator' }));
      expect(summary.recoveries).toContainEqual(expect.objectContaining({ kind: 'lost', workerId: `w${rank}` }));
      expectEveryStepToldOnce(name);
    },
    timeoutMs,
  );

  test('twice, and is stopped by Ctrl-C after its second return', { timeout: timeoutMs }, async () => {
    const run = LockstepProcess.start(trainCommand('twice', 2));
    await run.line(/^epoch 1:/);
    await kill(run);
    const second = LockstepProcess.start(trainCommand('twice', 2));
    await second.line(/^the coordinator is back/);
    await kill(second);
    const third = LockstepProcess.start(trainCommand('twice', 2));
    await third.line(/^the coordinator is back/);
    third.signal('SIGINT');
    const summary = await endsWell(third, 'twice');
    expect(summary.recoveries).toHaveLength(2);
    await allEnded([pidOf('twice', 0), pidOf('twice', 1)]);
    await lockstepDone([...trainCommand('twice', 1), '--resume']);
    expect(readSummary(folder.at('twice.json')).weightsSha256).toBe(whole.weightsSha256);
  });
});

test(
  'the best checkpoint is kept, where the coordinator has died between its validation and its writing',
  { timeout: timeoutMs },
  async () => {
    // None after the first is better by so much.
    const best = JSON.stringify({ metric: 'val_loss', minDelta: 100 });
    const command = trainCommand('best', 1, ['--set', `best=${best}`, '--set', 'checkpointsKept=40']);
    const run = LockstepProcess.start(command);
    await run.line(/^epoch 1:/);
    await kill(run);
    await nextCheckpoint('best');
    await endsWell(LockstepProcess.start(command), 'best');
    const [first] = readMetrics(folder.at('best')).filter(({ loss }) => loss === undefined);
    const checkpoint = (name: string): Buffer => readFileSync(folder.at('best', 'checkpoints', name));
    expect(JSON.parse(checkpoint('best.json').toString())).toEqual({
      metric: 'val_loss',
      step: first?.step,
      value: first?.metrics.val_loss,
    });
    const name = `step-${String(first?.step).padStart(8, '0')}.safetensors`;
    expect(checkpoint('best.safetensors').equals(checkpoint(name))).toBe(true);
  },
);

/** A coordinator on its own, with a token that is not in the run directory, and two workers. */
async function startApart(name: string): Promise<{ coordinator: LockstepProcess; command: string[] }> {
  const tokenFile = folder.at(`${name}.token`);
  writeFileSync(tokenFile, 'a token of this test alone');
  const files = ['--run-dir', folder.at(name), '--summary', folder.at(`${name}.json`), '--token-file', tokenFile];
  const common = ['coordinator', ...settings, '--workers', '2', ...files];
  const coordinator = LockstepProcess.start([...common, '--listen', '127.0.0.1:0']);
  const [, url = ''] = await coordinator.line(/--join (\S+) /);
  for (const id of ['a', 'b']) LockstepProcess.start(['worker', '--join', url, '--token-file', tokenFile, '--id', id]);
  return { coordinator, command: [...common, '--listen', url.replace('ws://', '')] };
}

test(
  'a coordinator whose run directory is lost has the run back from its workers',
  { timeout: timeoutMs },
  async () => {
    const { coordinator, command } = await startApart('lost');
    await coordinator.line(/^epoch 1:/);
    const runId = readJournal(folder.at('lost'))?.runId;
    await kill(coordinator);
    rmSync(folder.at('lost'), { recursive: true });
    const back = LockstepProcess.start(command);
    await back.line(new RegExp(`^takes back run ${runId ?? '-'}, as its workers say$`));
    const summary = await endsWell(back, 'lost');
    expect(summary).toMatchObject({ runId, weightsSha256: whole.weightsSha256, generations: 1 });
    expect(summary.recoveries).toEqual([expect.objectContaining({ kind: 'coordinator' })]);
  },
);

test(
  'a coordinator that is stopped, and replaced meanwhile, ends when it goes on',
  { timeout: timeoutMs },
  async () => {
    const old = LockstepProcess.start(trainCommand('stopped', 2));
    await old.line(/^epoch 1:/);
    old.signal('SIGSTOP');
    const back = LockstepProcess.start(trainCommand('stopped', 2));
    await back.line(/^the coordinator is back/);
    old.signal('SIGCONT');
    const ended = await old.ended;
    expect(errorLines(ended)).toEqual([expect.stringMatching(/Another coordinator .*\[ERR_COORDINATOR_REPLACED\]$/)]);
    const summary = await endsWell(back, 'stopped');
    expect(summary).toMatchObject({ weightsSha256: whole.weightsSha256, generations: 1 });
    expectEveryStepToldOnce('stopped');
  },
);

test('a run whose coordinator lives is not taken from it', { timeout: timeoutMs }, async () => {
  const run = LockstepProcess.start(trainCommand('lives', 1));
  await run.line(/^epoch 1:/);
  const { exitCode, stderr } = await LockstepProcess.start(trainCommand('lives', 1)).ended;
  expect([exitCode, ...errorLines({ stderr })]).toEqual([2, expect.stringMatching(/coordinates.*\[ERR_RUN_DIR\]$/)]);
  expect((await endsWell(run, 'lives')).weightsSha256).toBe(whole.weightsSha256);
});
