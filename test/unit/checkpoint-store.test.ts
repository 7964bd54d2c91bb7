/** Checkpoints of workers that do not see the run directory, as the coordinator reads and writes them. */
import { mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CheckpointStore, type CheckpointStoreOptions } from '../../coordinator/checkpoint-store.js';
import { LockstepError } from '../../src/errors.js';

const name = 'step-00000007.safetensors';
let folder: string;
let kept: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lockstep-store-'));
  kept = [];
});
afterEach(() => rm(folder, { recursive: true }));

function makeStore(keep: CheckpointStoreOptions['keep'] = noteKept): CheckpointStore {
  return new CheckpointStore({ folder, keep });
}

/** Keeps nothing. */
function noteKept(aside: string): Promise<boolean> {
  kept.push(aside);
  return Promise.resolve(false);
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const write = (at: number, text: string, request = 1) =>
  ({ type: 'write-file', request, name, at, bytes: bytesOf(text) }) as const;
const read = (at: number, length: number) => ({ type: 'read-file', request: 4, name, at, length }) as const;

describe('what a worker writes', () => {
  it('lies aside, in any order of its pieces, until it is kept', async () => {
    const store = makeStore();
    expect(await store.answer('a', write(6, 'world'))).toMatchObject({ type: 'file', request: 1, failure: null });
    await store.answer('a', write(0, 'hello '));
    const [aside = '', ...more] = await readdir(folder);
    expect(more).toEqual([]);
    expect(aside).toMatch(/^\.tmp-step-00000007\.safetensors-/);
    expect(await readFile(join(folder, aside), 'utf8')).toBe('hello world');
    await store.answer('a', { type: 'keep-file', request: 3, name });
    expect(kept).toEqual([join(folder, aside)]);
  });

  it('goes on where a coordinator before this one was', async () => {
    await makeStore().answer('a', write(0, 'hello '));
    await makeStore().answer('a', write(6, 'world'));
    expect(await readFile(join(folder, (await readdir(folder))[0] ?? ''), 'utf8')).toBe('hello world');
  });

  it('does not meet what another worker writes of the same step, whatever their ids are', async () => {
    const store = makeStore();
    for (const workerId of ['a', '../a', 'a'.repeat(60_000)]) await store.answer(workerId, write(0, workerId[0] ?? ''));
    expect(await readdir(folder)).toHaveLength(3);
  });

  it('is told to be there, or not, when it was to be kept', async () => {
    const keep = { type: 'keep-file', request: 3, name } as const;
    const store = makeStore(async (aside, path) => {
      await rename(aside, path);
      return true;
    });
    await store.answer('a', write(0, 'hello'));
    expect(await store.answer('a', keep)).toMatchObject({ size: 5, failure: null });
    expect(await makeStore().answer('a', keep)).toMatchObject({ size: 0, failure: null });
  });

  it('is refused with the reason where it is not whole', async () => {
    const store = makeStore(() => Promise.reject(new LockstepError('ERR_CHECKPOINT_INVALID', 'it is cut off')));
    const { failure } = await store.answer('a', { type: 'keep-file', request: 3, name });
    expect(failure).toMatchObject({ code: 'ERR_CHECKPOINT_INVALID', message: 'it is cut off' });
  });
});

describe('what a worker reads', () => {
  it('comes with the size of the whole, and ends where the file does', async () => {
    await writeFile(join(folder, name), 'hello world');
    const store = makeStore();
    expect(await store.answer('a', read(0, 0))).toMatchObject({ size: 11, bytes: new Uint8Array(0) });
    expect(await store.answer('a', read(6, 3))).toMatchObject({ size: 11, bytes: bytesOf('wor') });
    expect(await store.answer('a', read(6, 100))).toMatchObject({ size: 11, bytes: bytesOf('world') });
    expect(await store.answer('a', read(100, 10))).toMatchObject({ size: 11, bytes: new Uint8Array(0) });
  });

  it('is an error where there is none', async () => {
    const { failure } = await makeStore().answer('a', read(0, 10));
    expect(failure?.code).toBe('ERR_CHECKPOINT_INVALID');
    expect(failure?.message).toMatch(/^Checkpoint step-00000007.safetensors cannot be read by the coordinator: ENOENT/);
  });
});

it.each([
  '../token',
  'token',
  'step-1.safetensors',
  'step-00000007.safetensors/../../token',
  '.tmp-step-00000007.safetensors-x',
])('nothing but checkpoints can be asked for, so not %s', async (other) => {
  await writeFile(join(folder, 'token'), 'a secret');
  await symlink('token', join(folder, 'step-1.safetensors'));
  const store = makeStore();
  for (const question of [
    { ...read(0, 8), name: other },
    { ...write(0, 'x'), name: other },
  ]) {
    const { failure, bytes } = await store.answer('a', question);
    expect(failure?.code).toBe('ERR_PROTOCOL');
    expect(bytes).toHaveLength(0);
  }
  expect(await readFile(join(folder, 'token'), 'utf8')).toBe('a secret');
});
