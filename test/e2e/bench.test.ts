/** `lockstep bench allreduce`: real processes reduce, the sums are checked inside, and a line for each size comes out. */
import { expect, test } from 'vitest';
import { errorLines, lockstep, lockstepDone } from '../support/lockstep-command.js';

interface Line {
  readonly workers: number;
  readonly bytes: number;
  readonly microseconds: number;
  readonly busbw: number;
}

test.each([
  [2, []],
  [3, []],
  [2, ['--tcp']],
])('%i workers reduce each size, and say how long it took (options: %j)', async (workers, options) => {
  const args = ['bench', 'allreduce', '--workers', String(workers), '--sizes', '256,1MiB', '--json', ...options];
  const { stdout, stderr } = await lockstepDone(args);
  expect(stderr).toEqual([]);
  const lines = stdout.map((line) => JSON.parse(line) as Line);
  expect(lines).toMatchObject([
    { workers, bytes: 256 },
    { workers, bytes: 1_048_576 },
  ]);
  for (const { bytes, microseconds, busbw } of lines) {
    expect(microseconds).toBeGreaterThan(0);
    // nccl-tests, doc/PERFORMANCE.md: algbw * 2 (n - 1) / n
    const expected = ((bytes / microseconds / 1e3) * 2 * (workers - 1)) / workers;
    expect(Math.abs(busbw / expected - 1)).toBeLessThan(0.01);
  }
});

test('without --json it prints a table for people', async () => {
  const { stdout } = await lockstepDone(['bench', 'allreduce', '--sizes', '16KiB']);
  expect(stdout).toHaveLength(2);
  expect(stdout[0]).toMatch(/^workers +size +time +busbw$/);
  expect(stdout[1]).toMatch(/^ +2 +16 KiB +[\d.]+ µs +[\d.]+ GB\/s$/);
});

test.each([
  ['a size in no known unit', ['--sizes', '256,1MB'], /"1MB" is no size; expected .*16KiB/],
  ['a size that is no number of floats', ['--sizes', '255'], /"255" is no size/],
  ['a size of nothing', ['--sizes', '0'], /"0" is no size/],
  ['a size over the limit', ['--sizes', '2GiB'], /"2GiB" is no size; expected .* up to 1GiB/],
  ['one worker', ['--workers', '1'], /at least 2 workers/],
])('%s is refused before anything is measured', async (_, args, pattern) => {
  const ended = await lockstep(['bench', 'allreduce', ...args]);
  expect(ended).toMatchObject({ exitCode: 2, stdout: [] });
  expect(errorLines(ended)).toEqual([expect.stringMatching(pattern)]);
  expect(errorLines(ended)[0]).toContain('[ERR_USAGE]');
});

test('no workers are refused', async () => {
  const ended = await lockstep(['bench', 'allreduce', '--workers', '0']);
  expect(ended).toMatchObject({ exitCode: 2, stdout: [] });
  expect(ended.stderr[0]).toMatch(/'--workers <n>' argument '0' is invalid/);
});
