/** Workers that are killed with their share of a sharded optimizer's moments: the run goes back to a checkpoint, to the same bits. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { errorLines, lockstepDone, LockstepProcess } from '../support/lockstep-command.js';
import { allEnded } from '../support/process-end.js';
import { readMetrics, readSummary, type SummaryFile } from '../support/run-files.js';
import { runningStatus } from '../support/run-status.js';

const points = ['test/e2e/fixtures/points.ts', '--set', 'slots=4', '--set', 'threads=1'];
const sharded = ['--set', 'optimizer.sharded=true'];
/** Far more steps than fit into the test. */
const endless = ['--set', 'epochs=1000000'];
/** Three times what it takes where nothing else runs. */
const timeoutMs = 180_000;

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

const filesOf = (name: string): string[] => ['--run-dir', folder.at(name), '--summary', folder.at(`${name}.json`)];

/** Of a run that nobody disturbs, by one worker that has all moments. */
async function undisturbed(name: string, job: readonly string[], steps: number): Promise<SummaryFile> {
  const files = filesOf(`${name}-whole`);
  await lockstepDone(['train', ...job, ...files, '--workers', '1', '--steps', String(steps)]);
  return readSummary(folder.at(`${name}-whole.json`));
}

function expectEveryStepToldOnce(name: string, numSteps: number): void {
  const steps = readMetrics(folder.at(name)).flatMap(({ step, loss }) => (loss === undefined ? [] : step));
  expect(steps).toEqual(Array.from({ length: numSteps }, (_, i) => i + 1));
}

describe('a run with a sharded optimizer has the bits of the undisturbed one after the loss of', () => {
  test.each([
    { numWorkers: 2, rank: 0, what: '', fields: [] },
    { numWorkers: 2, rank: 1, what: ', clipped', fields: ['--set', 'optimizer.clipNorm=0.05'] },
    { numWorkers: 3, rank: 1, what: '', fields: [] },
  ])('rank $rank of $numWorkers, and a newcomer in its place$what', { timeout: timeoutMs }, async (one) => {
    const { numWorkers, rank, fields } = one;
    const name = `lost-${rank}-of-${numWorkers}`;
    const job = [...points, ...endless, ...fields];
    const run = LockstepProcess.start([
      ...['train', ...job, ...sharded, ...filesOf(name), '--workers', String(numWorkers)],
    ]);
    await run.line(/^epoch 1:/);
    const { workers } = await runningStatus(folder.at(name), ({ checkpoint }) => checkpoint !== null);
    process.kill(workers.find((worker) => worker.rank === rank)?.pid ?? NaN, 'SIGKILL');
    await run.line(/^worker w\d is lost at step \d+ \(it was killed by SIGKILL\): .* with its slots/);
    const [, joined] = await run.line(/^worker w\d\.2 has joined at step (\d+): \d workers go on/);
    // And once more, to read what those have written that were fewer for a while.
    const stepOf = (path: string | null): number => Number(/step-(\d+)/.exec(path ?? '')?.[1] ?? 0);
    const later = await runningStatus(folder.at(name), ({ checkpoint }) => stepOf(checkpoint) > Number(joined));
    process.kill(later.workers.find((worker) => worker.rank === rank)?.pid ?? NaN, 'SIGKILL');
    await run.line(/^worker w\d(\.2)? is lost at step \d+ \(it was killed by SIGKILL\): .* with its slots/, 2);
    run.signal('SIGINT');
    const ended = await run.ended;
    expect(ended.exitCode, ended.stderr.join('\n')).toBe(0);
    const summary = readSummary(folder.at(`${name}.json`));
    expect(summary.recoveries.slice(0, 3)).toMatchObject([{ kind: 'lost' }, { kind: 'joined' }, { kind: 'lost' }]);
    expect((await undisturbed(name, job, summary.steps)).weightsSha256).toBe(summary.weightsSha256);
    expectEveryStepToldOnce(name, summary.steps);
  });

  test('one of 2 before the first checkpoint, from the beginning', { timeout: timeoutMs }, async () => {
    const job = ['test/faults/fixtures/long-epoch.ts'];
    const command = ['train', ...job, ...sharded, ...filesOf('begun'), '--workers', '2', '--no-replace'];
    const run = LockstepProcess.start([...command, '--steps', '3000']);
    await run.line(/coordinator at ws:/);
    const { workers } = await runningStatus(folder.at('begun'), ({ step }) => step > 50);
    process.kill(workers.find((worker) => worker.rank === 1)?.pid ?? NaN, 'SIGKILL');
    await run.line(/^worker w1 is lost at step 0 \(.*\): one worker goes on with its slots; \d+ steps are taken again/);
    const ended = await run.ended;
    expect(ended.exitCode, errorLines(ended).join('\n')).toBe(0);
    const { recoveries, ...summary } = readSummary(folder.at('begun.json'));
    const [recovery] = recoveries as { step: number; redoneSteps: number }[]; // the summary's own words
    expect(recovery).toMatchObject({ kind: 'lost', step: 0 });
    expect(recovery?.redoneSteps).toBeGreaterThan(50);
    expect(summary.weightsSha256).toBe((await undisturbed('begun', job, 3000)).weightsSha256);
    expectEveryStepToldOnce('begun', 3000);
    await allEnded(workers.map(({ pid }) => pid));
  });

  test('one of 2, that a Ctrl-C follows: all that was told of is in the weights', { timeout: timeoutMs }, async () => {
    const job = ['test/faults/fixtures/long-epoch.ts'];
    const command = ['train', ...job, ...sharded, ...filesOf('stopped'), '--workers', '2', '--no-replace'];
    const run = LockstepProcess.start(command);
    await run.line(/coordinator at ws:/);
    const { workers } = await runningStatus(folder.at('stopped'), ({ step }) => step > 50);
    process.kill(workers.find((worker) => worker.rank === 0)?.pid ?? NaN, 'SIGKILL');
    run.signal('SIGINT');
    const ended = await run.ended;
    expect(ended.exitCode, errorLines(ended).join('\n')).toBe(0);
    const { steps, weightsSha256 } = readSummary(folder.at('stopped.json'));
    expect(steps).toBeGreaterThan(50);
    expect((await undisturbed('stopped', job, steps)).weightsSha256).toBe(weightsSha256);
    expectEveryStepToldOnce('stopped', steps);
  });
});
