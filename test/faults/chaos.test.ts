/** A user's test of fault recovery: a run in real processes that is given faults, and has the bits of one without. */
import { chaos, train } from 'lockstep/testing';
import { beforeAll, expect, test } from 'vitest';

const job = 'examples/digits/job.ts';
const settings = { set: { slots: 4, threads: 1, epochs: 25 }, env: { ...process.env, CUDA_VISIBLE_DEVICES: '' } };
/** Three times what it takes where nothing else runs. */
const timeoutMs = 180_000;

let weightsSha256: string | null;

beforeAll(async () => {
  ({ weightsSha256 } = await train(job, { ...settings, workers: 2 }));
}, timeoutMs);

test('what is killed, stopped, delayed, cut off and joined changes no bit', { timeout: timeoutMs }, async () => {
  const faults = [
    chaos.delay({ rank: 2, step: 10, delayMs: 5 }),
    chaos.kill({ rank: 1, step: 20 }),
    chaos.join({ step: 25 }),
    chaos.stop({ rank: 0, step: 40 }),
    chaos.partition({ rank: 0, step: 60 }),
  ];
  const summary = await train(job, { ...settings, workers: 3, faults, timeoutMs });
  expect(summary.weightsSha256).toBe(weightsSha256);
  expect(summary.injected.map(({ fault }) => fault).toSorted()).toEqual([
    'delay:2=5ms@10',
    'join@25',
    'kill:1@20',
    'partition:0@60',
    'stop:0@40',
  ]);
  // Each comes after its very step, once, whoever has the rank by then.
  expect(summary.injected).toContainEqual({ fault: 'kill:1@20', workerId: 'w1', step: 20 });
  expect(summary.injected).toContainEqual({ fault: 'stop:0@40', workerId: 'w0', step: 40 });
  expect(summary.recoveries.slice(0, 1)).toMatchObject([{ kind: 'lost', workerId: 'w1', step: 20 }]);
  const cut = summary.injected.find(({ fault }) => fault === 'partition:0@60')?.workerId;
  const silent = summary.recoveries.flatMap(({ kind, workerId }) => (kind === 'silent' ? workerId : []));
  expect(silent).toEqual(expect.arrayContaining(['w0', cut]));
});

test('a coordinator that is killed takes its run back, and no fault comes twice', { timeout: timeoutMs }, async () => {
  const faults = [
    chaos.kill({ rank: 1, step: 20 }),
    chaos.join({ step: 25 }),
    chaos.coordinator({ step: 60 }),
    chaos.kill({ rank: 0, step: 90 }),
  ];
  const summary = await train(job, { ...settings, workers: 2, faults, timeoutMs });
  expect(summary.weightsSha256).toBe(weightsSha256);
  expect(summary.injected.map(({ fault }) => fault)).toEqual(['kill:1@20', 'join@25', 'coordinator@60', 'kill:0@90']);
  const kinds = summary.recoveries.map(({ kind }) => kind);
  expect(kinds.filter((kind) => kind === 'coordinator')).toHaveLength(1);
  expect(kinds.filter((kind) => kind === 'lost')).toHaveLength(2);
});

test('a run that fails rejects with its error', { timeout: timeoutMs }, async () => {
  await expect(train(job, { ...settings, workers: 9 })).rejects.toMatchObject({ code: 'ERR_JOB_INVALID' });
});
