/**
 * The folder of a worker's Unix socket. Who is killed leaves it behind, and the next worker on that host removes what nobody
 * listens on any more. Its name has the host and the process, since the parent may be a disk that several hosts see:
 * `lockstep-HHHHHH-PPPPPPP-XXXXXX`.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rmdir, stat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostId } from './host-id.js';

/** Linux keeps process ids below 2^22. */
const pidDigits = 7;
const hostDigits = 6;
/** A folder without a socket may be that of a worker that starts. */
const abandonedAfterMs = 60_000;

/**
 * Makes one, for this user alone. Its path has the same length in every process, so that who tries one knows of all.
 *
 * @param parent short: a socket's path has at most 107 bytes. @default the folder for temporary files
 */
export async function makePeerFolder(parent: string = tmpdir()): Promise<string> {
  const host = createHash('sha256')
    .update(await hostId())
    .digest('hex')
    .slice(0, hostDigits);
  await removeAbandoned(parent, host);
  return mkdtemp(join(parent, `lockstep-${host}-${String(process.pid).padStart(pidDigits, '0')}-`));
}

export function socketIn(folder: string): string {
  return join(folder, 'peer.sock');
}

async function removeAbandoned(parent: string, host: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  for (const name of names) {
    const [, itsHost, pid] = /^lockstep-([0-9a-f]{6})-(\d{7})-\w{6}$/.exec(name) ?? [];
    if (itsHost !== host || isOfAnother(Number(pid))) continue;
    const folder = join(parent, name);
    if (!(await isAbandoned(folder))) continue;
    await unlink(socketIn(folder)).catch(() => undefined);
    await rmdir(folder).catch(() => undefined);
  }
}

/** Whether another process that lives has this id. A container that is started anew gives the same ones again. */
function isOfAnother(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== 'ESRCH';
  }
}

/** Whether nobody listens there: a process of another container may be alive, out of sight. */
async function isAbandoned(folder: string): Promise<boolean> {
  const why = await whyNotConnected(socketIn(folder));
  if (why === 'ECONNREFUSED') return true;
  if (why !== 'ENOENT') return false;
  const made = await stat(folder).catch(() => null);
  return made !== null && Date.now() - made.mtimeMs > abandonedAfterMs;
}

async function whyNotConnected(path: string): Promise<string | undefined> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return undefined;
  } catch (error) {
    return codeOf(error);
  } finally {
    socket.destroy();
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
