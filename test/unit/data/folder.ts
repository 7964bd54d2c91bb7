/** A temporary folder per test, with a cache of its own, as the base folder of data files. */
import { mkdtemp, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, vi } from 'vitest';
import type { Batch, Dataset, DataSource } from '../../../src/job/dataset.js';

export interface DataFolder {
  readonly baseDir: string;
  readonly cacheDir: string;
  write(name: string, content: string | Uint8Array): Promise<string>;
  /** Opens a source here; it is closed with the test. */
  open(source: DataSource): Promise<Dataset>;
}

export async function dataFolder(): Promise<DataFolder> {
  const root = await mkdtemp(join(tmpdir(), 'lockstep-data-'));
  vi.stubEnv('XDG_CACHE_HOME', join(root, 'cache'));
  onTestFinished(async () => {
    expect(await openFilesIn(root)).toEqual([]);
    await rm(root, { recursive: true });
  });
  return {
    baseDir: root,
    cacheDir: join(root, 'cache', 'lockstep', 'data'),
    write: async (name, content) => {
      await writeFile(join(root, name), content);
      return join(root, name);
    },
    open: async (source) => {
      const dataset = await source.open({ baseDir: root });
      onTestFinished(async () => dataset.close?.());
      return dataset;
    },
  };
}

/** Files that this process has open there, on systems that tell. */
async function openFilesIn(folder: string): Promise<string[]> {
  const descriptors = await readdir('/proc/self/fd').catch(() => []);
  const paths = await Promise.all(descriptors.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
  return paths.filter((path) => path.startsWith(folder));
}

/** A batch as plain data: class of the numbers, numbers, shape. */
export function plain({ x, y }: Batch) {
  return {
    x: { type: x.data.constructor.name, data: [...x.data], shape: x.shape },
    y: { type: y.data.constructor.name, data: [...y.data], shape: y.shape },
  };
}

export function float32(data: number[], shape: number[]) {
  return { type: 'Float32Array', data, shape };
}
