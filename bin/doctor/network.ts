/** Whether processes of this machine can talk: TCP on loopback, and Unix sockets. */
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer, type ListenOptions } from 'node:net';
import { tmpdir } from 'node:os';
import { makePeerFolder, socketIn } from '../../worker/comm/peer-folder.js';
import type { CheckResult } from './check.js';

export async function checkPorts(): Promise<CheckResult> {
  const problem = await whyNotListen({ host: '127.0.0.1', port: 0 });
  if (problem === undefined) return { name: 'ports', status: 'ok', found: 'can listen on 127.0.0.1' };
  const mend = 'allow this process to listen on loopback: a sandbox or a security policy forbids it';
  return { name: 'ports', status: 'bad', found: `cannot listen on 127.0.0.1: ${problem}`, mend };
}

/** Linux's `sun_path`. Node 20 cuts a longer path off and listens elsewhere, without an error. */
const longestSocketBytes = 107;

/** @param parent where the socket is made: workers of one host use the folder for temporary files */
export async function checkUnixSocket(parent: string = tmpdir()): Promise<CheckResult> {
  const name = 'unix sockets';
  const problem = await whyNotUnixSocket(parent);
  if (problem === undefined) return { name, status: 'ok', found: `can listen in ${parent}` };
  const mend = 'set TMPDIR to a short path on a local disk that this user may write to';
  return { name, status: 'bad', found: `cannot listen in ${parent}: ${problem}`, mend };
}

async function whyNotUnixSocket(parent: string): Promise<string | undefined> {
  try {
    const folder = await makePeerFolder(parent);
    const path = socketIn(folder);
    try {
      const bytes = Buffer.byteLength(path);
      if (bytes > longestSocketBytes)
        return `the path would have ${bytes} bytes, and a socket's has at most ${longestSocketBytes}`;
      return await whyNotListen({ path });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  } catch (error) {
    return String(error);
  }
}

async function whyNotListen(options: ListenOptions): Promise<string | undefined> {
  const server = createServer();
  try {
    server.listen(options);
    await once(server, 'listening');
    server.close();
    await once(server, 'close');
    return undefined;
  } catch (error) {
    return String(error);
  }
}
