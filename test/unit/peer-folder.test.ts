import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, mkdtemp, rm, utimes } from 'node:fs/promises';
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

/** Makes a folder as a worker does, and listens there, until it is killed. */
const worker = `
  import { createServer } from 'node:net';
  import { makePeerFolder, socketIn } from '${new URL('../../worker/comm/peer-folder.ts', import.meta.url).href}';
  const folder = await makePeerFolder(process.argv[1]);
  createServer().listen(socketIn(folder), () => console.log(folder));
`;

async function startWorker(): Promise<{ folder: string; kill: () => Promise<void> }> {
  const args = ['--import', 'tsx', '--input-type=module', '-e', worker, parent];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const kill = async (): Promise<void> => {
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  return { folder: line.toString().trim(), kill };
}

/** As one is named of a process of this host that is gone. */
async function abandoned(): Promise<string> {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  const folder = (await makePeerFolder(parent)).replace(
    String(process.pid).padStart(7, '0'),
    String(pid).padStart(7, '0'),
  );
  await mkdir(folder);
  return folder;
}

/** A socket that nobody listens on. */
async function leaveSocket(folder: string): Promise<void> {
  const script = `require('node:net').createServer().listen(${JSON.stringify(socketIn(folder))}, () => process.kill(process.pid, 'SIGKILL'))`;
  const child = spawn(process.execPath, ['-e', script], { stdio: 'inherit' });
  await once(child, 'exit');
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

it('has a path of the same length in every process', async () => {
  const name = basename(await makePeerFolder(parent));
  expect(name).toMatch(/^lockstep-[0-9a-f]{6}-\d{7}-\w{6}$/);
  expect(Number(name.split('-')[2])).toBe(process.pid);
});

it('is removed by the next who makes one, where its process was killed', async () => {
  const { folder, kill } = await startWorker();
  await makePeerFolder(parent);
  expect(await exists(folder)).toBe(true);
  await kill();
  expect(await exists(folder)).toBe(true);
  await makePeerFolder(parent);
  expect(await exists(folder)).toBe(false);
});

it('stays where somebody listens, though the process is out of sight, as in another container', async () => {
  const folder = await abandoned();
  const server = createServer().listen(socketIn(folder));
  try {
    await once(server, 'listening');
    await makePeerFolder(parent);
    expect(await exists(folder)).toBe(true);
  } finally {
    server.close();
    await once(server, 'close');
  }
});

it('is removed without a socket only when its worker cannot be one that starts', async () => {
  const folder = await abandoned();
  await makePeerFolder(parent);
  expect(await exists(folder)).toBe(true);
  const longAgo = new Date(Date.now() - 3_600_000);
  await utimes(folder, longAgo, longAgo);
  await makePeerFolder(parent);
  expect(await exists(folder)).toBe(false);
});

it('is removed also where this process has the same number, as in a container that is started anew', async () => {
  const folder = (await makePeerFolder(parent)).replace(/\w{6}$/, 'abcdef');
  await mkdir(folder);
  await leaveSocket(folder);
  await makePeerFolder(parent);
  expect(await exists(folder)).toBe(false);
});

it('stays where it is of another host that has the same disk', async () => {
  const folder = (await abandoned()).replace(/lockstep-[0-9a-f]{6}/, 'lockstep-000000');
  await mkdir(folder);
  await leaveSocket(folder);
  await makePeerFolder(parent);
  expect(await exists(folder)).toBe(true);
});
