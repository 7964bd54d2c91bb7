import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { execa } from 'execa';
import { expect, it, vi } from 'vitest';
import { assert } from '../../src/errors.js';
import { planLayout } from '../../src/state/layout.js';
import { FlatMemory } from '../../src/state/memory.js';
import { SharedPages } from '../../worker/comm/shared-pages.js';
import { findSharedPages } from '../../worker/compute/engine/native-build.js';

const layout = planLayout([{ name: 'w', shape: [5000], trainable: true }], 1);
const lengths = layout.segments.map(({ elements }) => elements);
const regions = [
  { name: 'first', elements: lengths },
  { name: 'second', elements: lengths },
];

const path = findSharedPages();
assert(path, 'these tests need an engine');

function load(): SharedPages {
  return SharedPages.load(path ?? '');
}

it('a memory that is shared keeps its values, and another memory that mounts a page sees what is written there', () => {
  const pages = load();
  const [ours, theirs] = [FlatMemory.create(layout, regions), FlatMemory.create(layout, regions)];
  const shared = pages.share(theirs, 'first');
  theirs.view('second', 0)[1024] = 1;
  expect(pages.sees(shared)).toBe(true);
  const target = { segment: 0, region: 'first', offset: 4096, bytes: 4096 };
  const peer = pages.open(shared);
  pages.mount(ours, target, peer, { region: 'second', offset: 4096 });
  expect(ours.view('first', 0)[1024]).toBe(1);
  theirs.view('second', 0)[1025] = 2;
  expect(ours.view('first', 0)[1025]).toBe(2);
  // Beside the page everything is as it was.
  theirs.view('second', 0).fill(7);
  expect([...ours.view('first', 0).subarray(1022, 1026)]).toEqual([0, 0, 7, 7]);
  expect(ours.view('first', 0)[2048]).toBe(0);
  pages.close(shared);
  pages.release(peer);
  expect(ours.view('first', 0)[1024]).toBe(7);
});

it('what lies before the first region that is shared stays this process’s own', () => {
  const pages = load();
  const [ours, theirs] = [FlatMemory.create(layout, regions), FlatMemory.create(layout, regions)];
  theirs.view('first', 0)[0] = 5;
  const shared = pages.share(theirs, 'second');
  theirs.view('first', 0)[1] = 6;
  theirs.view('second', 0)[0] = 7;
  expect([...theirs.view('first', 0).subarray(0, 2)]).toEqual([5, 6]);
  const peer = pages.open(shared);
  const mount = (region: string): void => {
    pages.mount(ours, { segment: 0, region: 'first', offset: 0, bytes: 4096 }, peer, { region, offset: 0 });
  };
  expect(() => {
    mount('first');
  }).toThrow('a peer has no region first');
  mount('second');
  expect([...ours.view('first', 0).subarray(0, 2)]).toEqual([7, 0]);
  pages.release(peer);
  pages.close(shared);
});

const hasLargePages = existsSync('/sys/kernel/mm/transparent_hugepage');

it.runIf(hasLargePages)('what is gone through from end to end is in large pages, where the kernel has them', () => {
  const advised = (): number => readFileSync('/proc/self/smaps', 'utf8').match(/^VmFlags:.* hg\b/gm)?.length ?? 0;
  const memory = FlatMemory.create(layout, regions);
  const before = advised();
  load().useLargePages(memory, 'second');
  expect(advised()).toBe(before + 1);
});

it('a kernel reads what another process of this host has written', async () => {
  const pages = load();
  const memory = FlatMemory.create(layout, regions);
  const script = `
    import { planLayout } from './dist/src/state/layout.js';
    import { FlatMemory } from './dist/src/state/memory.js';
    import { SharedPages } from './dist/worker/comm/shared-pages.js';
    const layout = planLayout([{ name: 'w', shape: [5000], trainable: true }], 1);
    const memory = FlatMemory.create(layout, ${JSON.stringify(regions)});
    const shared = SharedPages.load(process.argv[1]).share(memory, 'first');
    memory.view('second', 0).fill(3);
    process.stdout.write(JSON.stringify(shared) + '\\n');
    process.stdin.resume();`;
  const peer = execa('node', ['--input-type=module', '-e', script, path]);
  const first = (await peer[Symbol.asyncIterator]().next()) as IteratorResult<string, undefined>; // a line of stdout
  const shared = JSON.parse(first.value ?? '') as ReturnType<SharedPages['share']>; // what the script writes
  expect(pages.sees(shared)).toBe(true);
  const opened = pages.open(shared);
  pages.mount(memory, { segment: 0, region: 'first', offset: 0, bytes: 20_000 }, opened, {
    region: 'second',
    offset: 0,
  });
  const [from, to] = [memory.address('first', 0), memory.address('second', 0)];
  memory.kernels(0).add(to, from, from, 4992);
  expect(memory.view('second', 0)[4991]).toBe(6);
  peer.kill();
  await peer.catch(() => undefined);
  // Its pages outlive it, for as long as somebody has them.
  expect(memory.view('first', 0)[0]).toBe(3);
  expect(pages.sees(shared)).toBe(false);
  pages.release(opened);
});

it('another file under the same number is not taken for the peer’s memory', () => {
  const pages = load();
  const shared = pages.share(FlatMemory.create(layout, regions), 'first');
  const files = shared.files.map(({ file }) => ({ file, inode: '1:1' }));
  expect(pages.sees({ ...shared, files })).toBe(false);
  pages.close(shared);
  expect(pages.sees(shared)).toBe(false);
});

it('what is no whole page is refused', () => {
  const pages = load();
  const memory = FlatMemory.create(layout, regions);
  const shared = pages.share(memory, 'first');
  const target = { segment: 0, region: 'first', offset: 64, bytes: 4096 };
  const opened = pages.open(shared);
  expect(() => {
    pages.mount(memory, target, opened, { region: 'second', offset: 0 });
  }).toThrow('whole pages');
  pages.release(opened);
  pages.close(shared);
});

it('a process that is killed has a keeper of its memory, which has none of its files, takes none of its signals, and ends with it', async () => {
  const script =
    'process.stdout.write(`${require(process.argv[1]).keepMemory()}\\n`); setInterval(() => undefined, 1000);';
  const child = execa('node', ['-e', script, path], { reject: false });
  const first = (await child[Symbol.asyncIterator]().next()) as IteratorResult<string, undefined>; // a line of stdout
  expect(first.value).toBe('true');
  const pid = String(child.pid ?? '');
  const keeper = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  await vi.waitFor(() => expect(readFileSync(`/proc/${keeper}/comm`, 'utf8')).toBe('lockstep-memory\n'), waiting);
  await vi.waitFor(() => expect(openedBy(keeper)).toEqual([expect.stringContaining('pidfd')]), waiting);
  process.kill(Number(keeper), 'SIGTERM');
  expect(statusOf(keeper)).toMatch(/^State:\t[SR]/m);
  child.kill('SIGKILL');
  await child;
  await vi.waitFor(() => expect(hasEnded(keeper)).toBe(true), waiting);
});

const waiting = { timeout: 10_000, interval: 5 };

function openedBy(pid: string): string[] {
  return readdirSync(`/proc/${pid}/fd`).map((file) => readlinkSync(`/proc/${pid}/fd/${file}`));
}

function statusOf(pid: string): string {
  return readFileSync(`/proc/${pid}/status`, 'utf8');
}

/** Whoever is its parent by then may be late to take note of it. */
function hasEnded(pid: string): boolean {
  return !existsSync(`/proc/${pid}`) || statusOf(pid).includes('State:\tZ');
}
