/** What a worker's process is started with. */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { startWorkerProcess } from '../../bin/worker-process.js';
import { JobFolder } from '../support/job-folder.js';

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

it.each([
  ['', 'glibc.malloc.hugetlb=1'],
  ['glibc.malloc.arena_max=2', 'glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1'],
  ['glibc.malloc.hugetlb=0:glibc.malloc.arena_max=2', 'glibc.malloc.hugetlb=0:glibc.malloc.arena_max=2'],
])('a worker’s malloc asks for large pages, beside what is set: "%s"', async (set, expected) => {
  vi.stubEnv('GLIBC_TUNABLES', set);
  const script = await folder.write('says.mjs', 'console.error(process.env.GLIBC_TUNABLES, process.env.OWN);');
  const lines: string[] = [];
  const { ended } = startWorkerProcess({
    command: [process.execPath, script],
    args: [],
    env: { OWN: 'own' },
    onLine: (line) => lines.push(line),
  });
  await expect(ended).resolves.toEqual({ how: 'it exited with code 0', bySignal: false });
  expect(lines).toEqual([`${expected} own`]);
});
