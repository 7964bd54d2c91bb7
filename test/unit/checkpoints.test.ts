/** When checkpoints are written aside, when straight from memory, and what waits for what. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LockstepError } from '../../src/errors.js';
import type { Log } from '../../src/log.js';
import { adam } from '../../src/optimizer/config.js';
import type { CheckpointFacts } from '../../src/state/checkpoint.js';
import { planLayout } from '../../src/state/layout.js';
import { FlatMemory } from '../../src/state/memory.js';
import { checkpointPath } from '../../worker/checkpoint/checkpoint-folder.js';
import { readCheckpoint } from '../../worker/checkpoint/checkpoint-reader.js';
import type { Sharding } from '../../worker/checkpoint/tensors.js';
import { GATHERED } from '../../worker/comm/regions.js';
import { localFiles } from '../../worker/checkpoint/local-files.js';
import {
  Checkpoints,
  writeAndPrune,
  type Between,
  type AsideWrite,
  type CheckpointsOptions,
} from '../../worker/checkpoint/checkpoints.js';

const regions = ['parameters', 'moment1', 'moment2', GATHERED];
const log: Log = {
  debug: () => undefined,
  info: (line) => lines.push(line),
  warn: () => undefined,
  error: () => undefined,
};

let folder: string;
let lines: string[];
let nowMs: number;
/** What the writer was given, and how it is told to go on. */
let begun: { readonly what: AsideWrite; readonly fail: (error: Error) => void; readonly go: () => void }[];
let written: number[];
let failures: LockstepError[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lockstep-checkpoints-'));
  [lines, begun, written, failures, nowMs] = [[], [], [], [], 0];
});
afterEach(() => rm(folder, { recursive: true }));

function createMemory(): FlatMemory {
  const layout = planLayout([{ name: 'kernel', shape: [40, 3], trainable: true }], 2);
  const elements = layout.segments.map((segment) => segment.elements);
  return FlatMemory.create(
    layout,
    regions.map((name) => ({ name, elements })),
  );
}

function fill(memory: FlatMemory, value: number): void {
  for (const region of regions) memory.view(region, 0).fill(value);
}

/** A writer that writes as the real one does, once it is told to. */
const startWriter: CheckpointsOptions['startWriter'] = () => ({
  write: async (what) => {
    await new Promise<void>((go, fail) => begun.push({ what, go, fail }));
    return writeAndPrune({ ...what, memory: FlatMemory.attach(what.memory), sharding: null, files: localFiles, log });
  },
  close: () => Promise.resolve(),
});

function makeCheckpoints(memory: FlatMemory, changes: Partial<CheckpointsOptions> = {}): Checkpoints {
  const options = { folder, keep: 3, memory, files: localFiles, everySeconds: null, startWriter, log };
  return new Checkpoints({
    ...options,
    now: () => nowMs,
    availableBytes: () => Infinity,
    onWritten: (step) => written.push(step),
    onFailure: (error) => failures.push(error),
    ...changes,
  });
}

const between: Between = { sharding: null, untilEnded: () => new Promise(() => undefined) };

const factsOf = (step: number): CheckpointFacts => ({
  runId: 'digits-2f6c',
  step,
  position: { epoch: 0, stepInEpoch: step },
  sampler: { rows: 100, batchSize: 10, slots: 1, seed: 0, shuffle: true, lastBatch: 'drop' },
  job: {},
  optimizer: adam(),
  engine: 'none',
  lockstepVersion: '0.1.0',
});

async function valueIn(step: number): Promise<Set<number>> {
  const memory = createMemory();
  await readCheckpoint({ path: checkpointPath(folder, step), memory, optimizer: adam() });
  const [kernel] = memory.layout.parameters;
  return new Set(kernel ? regions.slice(0, 3).flatMap((region) => [...memory.parameterView(region, kernel)]) : []);
}

/** Whether a promise is settled once everything that is ready has run. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const settle = () => (settled = true);
  promise.then(settle, settle);
  await new Promise((done) => setImmediate(done));
  return settled;
}

test('a checkpoint has the state between two steps, whatever the steps after it change while it is written', async () => {
  const memory = createMemory();
  fill(memory, 1);
  const checkpoints = makeCheckpoints(memory);
  await checkpoints.take(factsOf(1), between);
  fill(memory, 2);
  begun[0]?.go();
  await checkpoints.close();
  expect(written).toEqual([1]);
  expect(await valueIn(1)).toEqual(new Set([1]));
});

test('one that another writer has overtaken is told to nobody, and is no failure', async () => {
  const memory = createMemory();
  const overtaken: CheckpointsOptions['startWriter'] = () => ({
    write: () => Promise.resolve(false),
    close: () => Promise.resolve(),
  });
  const checkpoints = makeCheckpoints(memory, { startWriter: overtaken });
  await checkpoints.take(factsOf(1), between);
  await checkpoints.finish(factsOf(2), between);
  expect(written).toEqual([2]);
  expect(failures).toEqual([]);
});

test('the next checkpoint waits for the one in flight, and the end for the last', async () => {
  const memory = createMemory();
  const checkpoints = makeCheckpoints(memory);
  fill(memory, 1);
  await checkpoints.take(factsOf(1), between);
  const second = checkpoints.take(factsOf(2), between);
  expect(await isSettled(second)).toBe(false);
  fill(memory, 2); // no step can have been taken: this is what a copy of too early would lack
  begun[0]?.go();
  await second;
  expect(written).toEqual([1]);
  const end = checkpoints.finish(factsOf(2), between);
  expect(await isSettled(end)).toBe(false);
  begun[1]?.go();
  await end;
  expect(written).toEqual([1, 2]);
  expect([await valueIn(1), await valueIn(2)]).toEqual([new Set([1]), new Set([2])]);
});

test('of a share of the moments no copy is written, though a generation of one worker has left room for one', async () => {
  const memory = createMemory();
  const checkpoints = makeCheckpoints(memory);
  fill(memory, 1);
  await checkpoints.take(factsOf(1), between);
  begun[0]?.go();
  const [segment] = memory.layout.segments;
  if (!segment) throw new Error('a layout has a segment');
  const { elements, trainableElements } = segment;
  const sharding: Sharding = {
    ranges: [],
    buckets: [{ index: 0, segment: 0, offset: 0, elements, trainableElements }],
    gather: () => {
      memory.view(GATHERED, 0).fill(3);
      return Promise.resolve();
    },
  };
  fill(memory, 2);
  for (const region of ['moment1', 'moment2']) memory.view(region, 0).fill(NaN); // whatever is left of others' shares
  await checkpoints.take(factsOf(2), { ...between, sharding });
  expect(written).toEqual([1, 2]);
  expect(await valueIn(2)).toEqual(new Set([2, 3]));
});

test('the last checkpoint of a run is written from memory itself, without a thread or a copy', async () => {
  const memory = createMemory();
  fill(memory, 5);
  const checkpoints = makeCheckpoints(memory);
  await checkpoints.finish(factsOf(9), between);
  expect([written, begun]).toEqual([[9], []]);
  expect(await valueIn(9)).toEqual(new Set([5]));
});

test('without room for a copy a checkpoint is written between two steps, and the log says so', async () => {
  const memory = createMemory();
  const checkpoints = makeCheckpoints(memory, { availableBytes: () => 3 * 128 * 4 - 1 });
  await checkpoints.take(factsOf(1), between);
  expect([written, begun]).toEqual([[1], []]);
  expect(lines).toContainEqual(expect.stringContaining('written between two steps'));
});

test('one is due when the time since the last has passed, and put off while one is in flight', async () => {
  const checkpoints = makeCheckpoints(createMemory(), { everySeconds: 10 });
  nowMs = 9_999;
  expect(checkpoints.isDue).toBe(false);
  nowMs = 10_000;
  expect(checkpoints.isDue).toBe(true);
  await checkpoints.take(factsOf(1), between);
  nowMs = 50_000;
  expect(checkpoints.isDue).toBe(false);
  begun[0]?.go();
  await checkpoints.finish(factsOf(1), between);
  expect(checkpoints.isDue).toBe(true);
  expect(makeCheckpoints(createMemory()).isDue).toBe(false);
});

test('a write that fails aside is told once, and no further one begins', async () => {
  const checkpoints = makeCheckpoints(createMemory());
  await checkpoints.take(factsOf(1), between);
  const full = new LockstepError('ERR_DISK_FULL', 'no room');
  begun[0]?.fail(full);
  await expect(checkpoints.take(factsOf(2), between)).rejects.toBe(full);
  await expect(checkpoints.finish(factsOf(2), between)).rejects.toBe(full);
  await checkpoints.close();
  expect([failures, written, await readdir(folder)]).toEqual([[full], [], []]);
});

test('a generation that ends does not wait for what is in flight, and its checkpoint is taken in the next one', async () => {
  const memory = createMemory();
  const checkpoints = makeCheckpoints(memory);
  await checkpoints.take(factsOf(1), between);
  let end: (value: unknown) => void = () => undefined;
  const ended = new Promise((resolve) => (end = resolve));
  const second = checkpoints.take(factsOf(2), { sharding: null, untilEnded: () => ended });
  expect(await isSettled(second)).toBe(false);
  end(false);
  await second;
  begun[0]?.go();
  await checkpoints.take(factsOf(2), between);
  expect(begun.map(({ what }) => what.facts.step)).toEqual([1, 2]);
  begun[1]?.go();
  await checkpoints.close();
  expect(written).toEqual([1, 2]);
});

test('a step whose checkpoint is there, or was read, gets no second one', async () => {
  const checkpoints = makeCheckpoints(createMemory());
  checkpoints.adopt(4);
  await checkpoints.take(factsOf(4), between);
  await checkpoints.finish(factsOf(4), between);
  expect([written, begun]).toEqual([[], []]);
});
