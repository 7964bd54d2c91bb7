import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { makePeerFolder, socketIn } from '../../worker/comm/peer-folder.js';

let parent: string;

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'lockstep-test-'));
});

afterEach(async () => {
  await rm(parent, { recursive: true });
});

/** Listens as a worker does, in a folder of its own. */
const worker = `
  const folder = process.argv[1] + '/lockstep-' + String(process.pid).padStart(7, '0') + '-abcdef';
  require('node:fs').mkdirSync(folder);
  require('node:net').createServer().listen(folder + '/peer.sock', () => console.log('listens'));
`;

it('is named for its process', async () => {
  const pid = /^lockstep-(\d{7})-/.exec(basename(await makePeerFolder(parent)))?.[1];
  expect(Number(pid)).toBe(process.pid);
});

it('is removed by the next who makes one, where its process was killed', async () => {
  const child = spawn(process.execPath, ['-e', worker, parent], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  const [theirs] = await readdir(parent);
  const first = await makePeerFolder(parent);
  expect(await readdir(parent)).toEqual([theirs, basename(first)].toSorted());

  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
  const second = await makePeerFolder(parent);
  expect(await readdir(parent)).toEqual([first, second].map((path) => basename(path)).toSorted());
});

it('stays where somebody listens, though the process is out of sight, as in another container', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  const folder = join(parent, `lockstep-${pid}-abcdef`);
  await mkdir(folder);
  const server = createServer().listen(socketIn(folder));
  try {
    await once(server, 'listening');
    await makePeerFolder(parent);
    expect(await readdir(parent)).toContain(basename(folder));
  } finally {
    server.close();
    await once(server, 'close');
  }
});

it('is not any other folder', async () => {
  const other = join(parent, 'lockstep-run-abcdef');
  await mkdir(other);
  await makePeerFolder(parent);
  expect(await readdir(parent)).toContain(basename(other));
});
