/** Workers that are killed in the midst of a run: the others go on, and the weights are those of the undisturbed run. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { lockstepDone, LockstepProcess } from '../support/lockstep-command.js';
import { readMetrics, readSummary, type SummaryFile } from '../support/run-files.js';
import { runningStatus } from '../support/run-status.js';

const digits = 'examples/digits/job.ts';
/** Dropout and batch norm: what draws random numbers, and what a step assigns. */
const noisy = 'test/e2e/fixtures/noisy-points.ts';

let folder: JobFolder;
const undisturbed = new Map<string, SummaryFile>();

beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

const settings = (job: string, epochs: number): string[] => [
  ...[job, '--set', 'slots=4', '--set', 'threads=1'],
  ...['--epochs', String(epochs)],
];

/** The same run, and nobody is killed. */
async function wholeRun(job: string, epochs: number): Promise<SummaryFile> {
  const key = `${job} ${epochs}`;
  const known = undisturbed.get(key);
  if (known) return known;
  const files = ['--run-dir', folder.at(`whole-${undisturbed.size}`), '--summary', folder.at('whole.json')];
  await lockstepDone(['train', ...settings(job, epochs), '--workers', '2', ...files]);
  const summary = readSummary(folder.at('whole.json'));
  undisturbed.set(key, summary);
  return summary;
}

/** Three times what it takes where nothing else runs. */
const timeoutMs = 180_000;

/** Ends who holds this rank once the run has committed so many steps. */
interface Kill {
  readonly rank: number;
  readonly atStep: number;
  /** @default 'SIGKILL' */
  readonly signal?: NodeJS.Signals;
}

async function runWith(
  { job, epochs }: { readonly job: string; readonly epochs: number },
  numWorkers: number,
  kills: readonly Kill[],
  name: string,
): Promise<{ readonly summary: SummaryFile; readonly runDir: string }> {
  const runDir = folder.at(name);
  const files = ['--run-dir', runDir, '--summary', folder.at(`${name}.json`)];
  const run = LockstepProcess.start(['train', ...settings(job, epochs), '--workers', String(numWorkers), ...files]);
  await run.line(/coordinator at ws:/);
  // Who was killed has its rank until the coordinator has seen it.
  const killed = new Set<number>();
  for (const { rank, atStep, signal = 'SIGKILL' } of kills) {
    const isNext = (worker: { readonly rank: number | null; readonly pid: number }): boolean =>
      worker.rank === rank && !killed.has(worker.pid);
    const { workers } = await runningStatus(runDir, (status) => status.step >= atStep && status.workers.some(isNext));
    const pid = workers.find(isNext)?.pid ?? NaN;
    killed.add(pid);
    process.kill(pid, signal);
  }
  const ended = await run.ended;
  expect(ended.exitCode, ended.stderr.join('\n')).toBe(0);
  return { summary: readSummary(folder.at(`${name}.json`)), runDir };
}

describe('a run whose workers are killed has the bits of the undisturbed one:', () => {
  test.each([
    { who: 'rank 0 of 3', numWorkers: 3, epochs: 25, kills: [{ rank: 0, atStep: 60 }] },
    { who: 'the last of 4', numWorkers: 4, epochs: 25, kills: [{ rank: 3, atStep: 60 }] },
    { who: 'one of 2', numWorkers: 2, epochs: 25, kills: [{ rank: 1, atStep: 60 }] },
    {
      who: 'two in a row, and one that joined',
      numWorkers: 3,
      // One is left alone, and must not be done before another one has loaded and joined.
      epochs: 60,
      kills: [
        { rank: 2, atStep: 60 },
        { rank: 0, atStep: 61 },
        { rank: 1, atStep: 300 },
      ],
    },
  ])(
    '$who',
    async ({ numWorkers, epochs, kills }) => {
      const name = `digits-${numWorkers}-${kills.map(({ rank }) => rank).join('')}`;
      const { summary, runDir } = await runWith({ job: digits, epochs }, numWorkers, kills, name);
      const whole = await wholeRun(digits, epochs);
      expect(summary.weightsSha256).toBe(whole.weightsSha256);
      expect(summary).toMatchObject({ steps: whole.steps, samplesSeen: whole.samplesSeen, metrics: whole.metrics });
      expect(summary.recoveries).toContainEqual(expect.objectContaining({ kind: 'lost' }));
      // Each step is told once, and each epoch's validation.
      const lines = readMetrics(runDir);
      const steps = lines.flatMap(({ step, loss }) => (loss === undefined ? [] : step));
      expect(steps).toEqual(Array.from({ length: summary.steps }, (_, i) => i + 1));
      expect(lines.filter(({ loss }) => loss === undefined)).toHaveLength(summary.epochs);
    },
    timeoutMs,
  );

  test('one that is asked to leave does so after its step, and is not lost', { timeout: timeoutMs }, async () => {
    const setting = { job: digits, epochs: 25 };
    const { summary } = await runWith(setting, 3, [{ rank: 1, atStep: 60, signal: 'SIGTERM' }], 'left');
    expect(summary.recoveries).toContainEqual(expect.objectContaining({ kind: 'left' }));
    expect(summary.recoveries).not.toContainEqual(expect.objectContaining({ kind: 'lost' }));
    expect(summary.weightsSha256).toBe((await wholeRun(setting.job, setting.epochs)).weightsSha256);
  });

  test('with dropout and batch norm', { timeout: timeoutMs }, async () => {
    const setting = { job: noisy, epochs: 40 };
    const kills = [
      { rank: 0, atStep: 20 },
      { rank: 1, atStep: 60 },
    ];
    const { summary } = await runWith(setting, 3, kills, 'noisy');
    const whole = await wholeRun(setting.job, setting.epochs);
    expect(summary.weightsSha256).toBe(whole.weightsSha256);
  });
});
