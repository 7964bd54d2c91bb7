/** What is known afterwards of a run in which a worker was killed, or slowed down. */
import { setTimeout as delay } from 'node:timers/promises';
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

async function start(
  name: string,
  epochs: number,
  numWorkers: number,
): Promise<{ readonly run: LockstepProcess; readonly runDir: string }> {
  const runDir = folder.at(name);
  const run = LockstepProcess.start([
    ...['train', digits, '--set', 'slots=4', '--set', 'threads=1', '--epochs', String(epochs)],
    ...['--workers', String(numWorkers), '--run-dir', runDir, '--summary', folder.at(`${name}.json`), '--no-replace'],
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
    const { run, runDir } = await start('killed', 25, 3);
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

/** Stopped for so long, and let go on for as long, until `ended`. */
const pulseMs = 30;

async function slowDown(pid: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    process.kill(pid, 'SIGSTOP');
    await delay(pulseMs);
    process.kill(pid, 'SIGCONT');
    await delay(pulseMs / 2);
  }
}

test('a worker that is slowed down is named, while it is slow and in the summary', { timeout: timeoutMs }, async () => {
  const { run, runDir } = await start('slow', 400, 2);
  const { workers } = await runningStatus(runDir, ({ step }) => step >= 60);
  const victim = workers.find(({ rank }) => rank === 1);
  const slowness = new AbortController();
  const slowing = slowDown(victim?.pid ?? NaN, slowness.signal);
  await run.line(new RegExp(`worker ${victim?.workerId ?? ''} is a straggler at step \\d+: .* as slow as the others`));
  const status = await runningStatus(runDir, () => true);
  expect(status.workers.map(({ straggler }) => straggler !== null)).toEqual(
    status.workers.map(({ workerId }) => workerId === victim?.workerId),
  );
  slowness.abort();
  await slowing;
  run.signal('SIGINT');
  expect((await run.ended).exitCode).toBe(0);
  const { stragglers } = readSummary(folder.at('slow.json'));
  expect(stragglers[0]).toMatchObject({ workerId: victim?.workerId, phase: 'compute' });
});
