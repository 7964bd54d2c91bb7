/** What is known afterwards of a run in which a worker was killed, or is slow. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { lockstepDone, LockstepProcess } from '../support/lockstep-command.js';
import { readSummary } from '../support/run-files.js';
import { runningStatus } from '../support/run-status.js';

const digits = 'examples/digits/job.ts';
const timeoutMs = 180_000;

let folder: JobFolder;

beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

interface Given {
  readonly epochs: number;
  readonly numWorkers: number;
  /** The job's field. */
  readonly stragglers?: string;
}

async function start(
  job: string,
  name: string,
  { epochs, numWorkers, stragglers }: Given,
): Promise<{ readonly run: LockstepProcess; readonly runDir: string }> {
  const runDir = folder.at(name);
  const run = LockstepProcess.start([
    ...['train', job, '--set', 'slots=4', '--set', 'threads=1', '--epochs', String(epochs)],
    ...['--workers', String(numWorkers), '--run-dir', runDir, '--summary', folder.at(`${name}.json`), '--no-replace'],
    ...(stragglers === undefined ? [] : ['--set', `stragglers=${stragglers}`]),
  ]);
  await run.line(/coordinator at ws:/);
  return { run, runDir };
}

/** Where the first line that is like this is, from a place on. */
function find(lines: readonly string[], pattern: RegExp, from = 0): number {
  const index = lines.findIndex((line, at) => at >= from && pattern.test(line));
  expect(index, `${String(pattern)} from line ${from} of\n${lines.join('\n')}`).toBeGreaterThanOrEqual(0);
  return index;
}

test(
  'the loss of a worker is told in order, with the last steps of those that are left',
  { timeout: timeoutMs },
  async () => {
    const { run, runDir } = await start(digits, 'killed', { epochs: 25, numWorkers: 3 });
    const { workers } = await runningStatus(runDir, ({ step }) => step >= 60);
    const [victim, ...survivors] = workers.toSorted((a, b) => (b.rank ?? 0) - (a.rank ?? 0));
    process.kill(victim?.pid ?? NaN, 'SIGKILL');
    const ended = await run.ended;
    expect(ended.exitCode, ended.stderr.join('\n')).toBe(0);

    const { stdout: lines } = await lockstepDone(['flight', '--run-dir', runDir]);
    const lost = find(lines, new RegExp(` coordinator +1 +lost +${victim?.workerId ?? ''}: `));
    const halt = find(lines, / coordinator +2 +halt /, lost);
    const formed = find(lines, / coordinator +2 +generation /, halt);
    const begun = find(lines, /^ +0\.000 +coordinator +2 +start /, formed);
    for (const { workerId } of survivors) {
      const halted = find(lines, new RegExp(` ${workerId} +2 +halted +with the state of step \\d+`), halt);
      expect(halted).toBeLessThan(formed);
      const steps = find(lines, new RegExp(` ${workerId} +1 +steps +\\d+ to \\d+ committed: .*compute \\d`));
      expect(steps).toBeLessThan(begun);
      // The last of them is that which the worker halted with; its compute thread may tell of it a little later.
      const [, last] = / to (\d+) committed/.exec(lines[steps] ?? '') ?? [];
      const [, held] = /state of step (\d+)/.exec(lines[halted] ?? '') ?? [];
      expect([Number(held), Number(held) - 1]).toContain(Number(last));
    }
  },
);

const slow = 'test/faults/fixtures/slow.ts';
/** It is slow in there: the job sees to that. */
const victim = 'w1';

test('a worker that is slower than the other is named, and stays', { timeout: timeoutMs }, async () => {
  const { run, runDir } = await start(slow, 'slow', { epochs: 10_000, numWorkers: 2 });
  await run.line(new RegExp(`worker ${victim} is a straggler at step \\d+: .*; compute takes \\d`));
  const { workers } = await runningStatus(runDir, () => true);
  expect(workers.flatMap(({ workerId, straggler }) => (straggler ? [workerId, straggler.phase] : []))).toEqual([
    victim,
    'compute',
  ]);
  run.signal('SIGINT');
  expect((await run.ended).exitCode).toBe(0);
  const { stragglers, recoveries } = readSummary(folder.at('slow.json'));
  expect(stragglers).toMatchObject([{ workerId: victim, phase: 'compute', untilStep: null }]);
  expect(recoveries).toEqual([]);
});

test(
  'one that is slower for longer than the job allows is evicted, and writes down what it did',
  { timeout: timeoutMs },
  async () => {
    const stragglers = '{"evictAfterSeconds":0.5}';
    const { run, runDir } = await start(slow, 'evicted', { epochs: 10_000, numWorkers: 2, stragglers });
    await run.line(new RegExp(`worker ${victim} is out at step \\d+ .*: one worker goes on`));
    run.signal('SIGINT');
    expect((await run.ended).exitCode).toBe(0);
    expect(readSummary(folder.at('evicted.json')).recoveries).toMatchObject([{ kind: 'slow', workerId: victim }]);
    const { stdout: lines } = await lockstepDone(['flight', '--run-dir', runDir]);
    const named = find(lines, new RegExp(` coordinator +1 +slow +${victim}: it was .* times as slow`));
    find(lines, / coordinator +2 +evict /, named);
    find(lines, new RegExp(` ${victim} +- +abort .*times as slow`), named);
    find(lines, new RegExp(` ${victim} +1 +steps +\\d+ to \\d+ committed: `));
    // The other one knows for whom it waited.
    find(lines, new RegExp(` w0 +1 +steps +.* awaiting others, rank 1 in `));
  },
);
