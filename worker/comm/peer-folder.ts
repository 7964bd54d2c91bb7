/** The folder of a worker's Unix socket. One who is killed leaves it behind, so the next who starts on this machine removes it. */
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Before the process id, which Linux keeps below 2^22: `lockstep-0004711-XXXXXX`. */
const prefix = 'lockstep-';
const pidDigits = 7;

/** Makes one, for this user alone. Its path is as long for every process. @param parent short: a socket's path has at most 107 bytes */
export async function makePeerFolder(parent: string = tmpdir()): Promise<string> {
  await removeAbandoned(parent);
  const pid = String(process.pid).padStart(pidDigits, '0');
  return mkdtemp(join(parent, `${prefix}${pid}-`));
}

export function socketIn(folder: string): string {
  return join(folder, 'peer.sock');
}

/** Those whose process is gone and whose socket nobody listens on: in another container the process may be alive, out of sight. */
async function removeAbandoned(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  const folders = names.filter(isOfDeadProcess).map((name) => join(parent, name));
  for (const folder of folders)
    if (await isRefused(socketIn(folder))) await rm(folder, { recursive: true, force: true }).catch(() => undefined);
}

function isOfDeadProcess(name: string): boolean {
  const pid = new RegExp(`^${prefix}(\\d+)-`).exec(name)?.[1];
  if (pid === undefined) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

async function isRefused(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ECONNREFUSED';
  } finally {
    socket.destroy();
  }
}
