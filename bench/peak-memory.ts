/** The most memory that a process has had resident, as Linux counts it (proc(5), VmHWM). */
import { readFile } from 'node:fs/promises';

/** @returns null where there is no such process (any more) */
export async function peakBytes(pid: number): Promise<number | null> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
  return kibibytes === undefined ? null : Number(kibibytes) * 1024;
}
