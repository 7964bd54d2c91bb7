/** Which processes share a host. */
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';

/** Processes of one boot of one machine and one host name share it, as in one container; they can reach one another's Unix sockets. */
export async function hostId(): Promise<string> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');
  return `${hostname()}/${boot.trim()}`;
}
