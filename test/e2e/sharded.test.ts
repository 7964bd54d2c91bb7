/** A sharded optimizer: the same bits as a whole one, for any number of workers, and checkpoints that do not tell them apart. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { lockstepDone } from '../support/lockstep-command.js';
import { readMetrics, readSummary, readTensors } from '../support/run-files.js';

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

const sharded = ['--set', 'optimizer.sharded=true'];

interface Bits {
  readonly weightsSha256: string | null;
  readonly lines: unknown;
  /** Weights and moments of the last checkpoint, in base64. */
  readonly tensors: ReadonlyMap<string, string>;
}

async function train(name: string, ...options: readonly string[]): Promise<Bits> {
  const path = folder.at(name);
  const files = ['--run-dir', path, '--summary', `${path}.json`];
  const job = ['examples/digits/job.ts', '--epochs', '1', '--set', 'slots=4'];
  await lockstepDone(['train', ...job, ...files, ...options]);
  const { weightsSha256, checkpoint } = readSummary(`${path}.json`);
  const tensors = [...readTensors(checkpoint ?? '')].map(([tensor, values]) => {
    return [tensor, Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64')] as const;
  });
  return { weightsSha256, lines: readMetrics(path), tensors: new Map(tensors) };
}

let whole: Bits;
beforeAll(async () => {
  whole = await train('whole', '--workers', '2');
  expect([...whole.tensors.keys()].filter((name) => name.startsWith('optimizer/moment2/'))).not.toEqual([]);
});

test.each(['1', '2', '4'])(
  '%s workers that share out the moments give the bits of a whole optimizer',
  async (numWorkers) => {
    expect(await train(`of-${numWorkers}`, '--workers', numWorkers, ...sharded)).toEqual(whole);
  },
);

test('gradients are clipped to the norm of all of them, whoever owns which part', { timeout: 180_000 }, async () => {
  const clipped = ['--steps', '7', '--set', 'optimizer.clipNorm=0.25'];
  const one = await train('clipped', '--workers', '1', ...clipped);
  expect(one).not.toEqual(await train('not-clipped', '--workers', '1', '--steps', '7'));
  for (const numWorkers of ['2', '4']) {
    expect(await train(`clipped-${numWorkers}`, '--workers', numWorkers, ...clipped, ...sharded)).toEqual(one);
  }
});

test('a sharded run of 2 workers goes on with 3, sharded or not', { timeout: 180_000 }, async () => {
  for (const [name, options] of [
    ['still-sharded', sharded],
    ['no-longer-sharded', []],
  ] as const) {
    const cut = await train(name, '--workers', '2', '--steps', '9', ...sharded);
    expect(cut.weightsSha256).not.toBe(whole.weightsSha256);
    expect(await train(name, '--workers', '3', '--resume', ...options), name).toEqual(whole);
  }
});

test('a run that was not sharded goes on sharded', async () => {
  await train('newly-sharded', '--workers', '1', '--steps', '9');
  expect(await train('newly-sharded', '--workers', '2', '--resume', ...sharded)).toEqual(whole);
});
