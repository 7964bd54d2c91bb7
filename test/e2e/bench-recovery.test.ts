/** `lockstep bench recovery`: a run of real processes loses a worker, or its coordinator, and the figures come out. */
import { expect, test } from 'vitest';
import { errorLines, lockstep, lockstepDone } from '../support/lockstep-command.js';

const timeoutMs = 120_000;

interface Line {
  readonly total: { readonly median: number; readonly p95: number };
  readonly less: { readonly median: number; readonly p95: number };
  readonly parts: Readonly<Record<string, number>>;
}

test.each([
  ['kill', 'SIGKILL'],
  ['stop', 'SIGSTOP'],
])('%s: a worker gets %s, and the parts of the time add up', { timeout: timeoutMs }, async (fault, signal) => {
  const args = ['bench', 'recovery', '--workers', '2', '--fault', fault, '--times', '1', '--json'];
  const { stdout } = await lockstepDone(args);
  const [line, ...more] = stdout.map((text) => JSON.parse(text) as Line);
  expect(more).toEqual([]);
  expect(line).toMatchObject({ workers: 2, fault: signal, times: 1 });
  const { total, less, parts } = line ?? { total: { median: NaN }, less: { median: NaN }, parts: {} };
  const sum = Object.values(parts).reduce((all, part) => all + part, 0);
  expect(Math.abs(sum - total.median)).toBeLessThan(1); // each is rounded to a tenth
  expect(less.median).toBeLessThan(total.median);
  expect(less.median).toBeGreaterThan(0);
});

test('coordinator: steps per second before, while it is away, and after', { timeout: timeoutMs }, async () => {
  const args = [
    'bench',
    'recovery',
    '--workers',
    '2',
    '--fault',
    'coordinator',
    '--times',
    '1',
    '--away',
    '1',
    '--json',
  ];
  const { stdout } = await lockstepDone(args);
  const lines = stdout.map((text) => JSON.parse(text) as { readonly stepsPerSecond: Record<string, number> });
  expect(lines).toMatchObject([{ workers: 2, fault: 'coordinator', times: 1, seconds: 1 }]);
  const rates = lines[0]?.stepsPerSecond ?? {};
  expect(Object.keys(rates)).toEqual(['before', 'away', 'after']);
  for (const rate of Object.values(rates)) expect(rate).toBeGreaterThan(0);
});

test.each([['1'], ['2,x'], ['']])('--workers "%s" is refused before anything is measured', async (list) => {
  const ended = await lockstep(['bench', 'recovery', '--workers', list]);
  expect(ended).toMatchObject({ exitCode: 2, stdout: [] });
  expect(errorLines(ended)).toEqual([expect.stringMatching(/--workers: ".*" is no number of workers from 2 on/)]);
});
