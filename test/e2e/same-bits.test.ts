/** The promise: weights, losses and validation have the same bits for any number of workers, stopped or not. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { lockstepDone, LockstepProcess } from '../support/lockstep-command.js';
import { readMetrics, readSummary, type MetricsLine, type SummaryFile } from '../support/run-files.js';

interface Bits {
  readonly summary: SummaryFile;
  /** Losses, metrics and validations of all steps. */
  readonly lines: readonly MetricsLine[];
}

/** One job with 4 slots, run in many ways into folders of one parent. */
class Runs {
  readonly #job: string;
  readonly #folder: JobFolder;

  constructor(job: string, folder: JobFolder) {
    this.#job = job;
    this.#folder = folder;
  }

  async train(name: string, ...options: readonly string[]): Promise<Bits> {
    await lockstepDone(this.#args(name, options));
    return this.#bits(name);
  }

  /** Stops the run by Ctrl-C once it has taken a step. */
  async trainUntilCtrlC(name: string, ...options: readonly string[]): Promise<Bits> {
    const run = LockstepProcess.start(this.#args(name, options));
    await run.line(/^step 1 of/);
    run.signal('SIGINT');
    expect(await run.ended).toMatchObject({ exitCode: 0 });
    return this.#bits(name);
  }

  #args(name: string, options: readonly string[]): string[] {
    const path = this.#folder.at(name);
    return ['train', this.#job, '--set', 'slots=4', '--run-dir', path, '--summary', `${path}.json`, ...options];
  }

  #bits(name: string): Bits {
    const path = this.#folder.at(name);
    return { summary: readSummary(`${path}.json`), lines: readMetrics(path) };
  }
}

function expectSameBits(found: Bits, reference: Bits): void {
  expect(found.summary.weightsSha256).toBe(reference.summary.weightsSha256);
  expect(found.lines).toEqual(reference.lines);
  expect(found.summary).toMatchObject({ ok: true, steps: reference.summary.steps, metrics: reference.summary.metrics });
}

describe.each([
  { network: 'the digits network', job: 'examples/digits/job.ts', epochs: 2, stepsPerEpoch: 22, middle: 29 },
  {
    network: 'a network with dropout and batch normalization',
    job: 'test/e2e/fixtures/noisy-points.ts',
    epochs: 4,
    stepsPerEpoch: 12,
    middle: 29,
  },
])('$network', ({ job, epochs, stepsPerEpoch, middle }) => {
  const size = ['--epochs', String(epochs)];
  let folder: JobFolder;
  let runs: Runs;
  let reference: Bits;

  beforeAll(async () => {
    folder = await JobFolder.make();
    runs = new Runs(job, folder);
    reference = await runs.train('one-worker', '--workers', '1', ...size);
  });
  afterAll(() => folder[Symbol.asyncDispose]());

  test('one worker takes every step, and validates after every epoch', () => {
    const steps = epochs * stepsPerEpoch;
    expect(reference.summary).toMatchObject({ ok: true, steps, epochs, workers: 1, slots: 4 });
    expect(reference.lines.filter(({ loss }) => loss !== undefined)).toHaveLength(steps);
    expect(reference.lines.filter(({ loss }) => loss === undefined)).toHaveLength(epochs);
    expect(reference.summary.weightsSha256).toMatch(/^[0-9a-f]{64}$/);
    expect(reference.summary.metrics.val_accuracy).toBeGreaterThan(0.85);
  });

  test.each([2, 3, 4])('%i workers give the bits of one', async (numWorkers) => {
    expectSameBits(await runs.train(`${numWorkers}-workers`, '--workers', String(numWorkers), ...size), reference);
  });

  test('a run that ended in the middle of an epoch goes on to the same bits with other workers', async () => {
    const stopped = await runs.train('cut', '--workers', '3', '--steps', String(middle), ...size);
    expect(stopped.summary.steps).toBe(middle);
    expect(stopped.summary.weightsSha256).not.toBe(reference.summary.weightsSha256);
    expectSameBits(await runs.train('cut', '--resume', '--workers', '2', ...size), reference);
  });

  test('a run that Ctrl-C stopped goes on to the same bits with other workers', async () => {
    const stopped = await runs.trainUntilCtrlC('interrupted', '--workers', '2', ...size);
    expect(stopped.summary.ok).toBe(true);
    expect(stopped.summary.steps).toBeLessThan(reference.summary.steps);
    expect(stopped.lines.at(-1)?.step).toBe(stopped.summary.steps);
    expectSameBits(await runs.train('interrupted', '--resume', '--workers', '1', ...size), reference);
  });

  test('another seed gives other bits', async () => {
    const other = await runs.train('seed', '--workers', '2', '--set', 'seed=7', ...size);
    expect(other.summary.steps).toBe(reference.summary.steps);
    expect(other.summary.weightsSha256).not.toBe(reference.summary.weightsSha256);
    expect(other.lines).not.toEqual(reference.lines);
  });
});
