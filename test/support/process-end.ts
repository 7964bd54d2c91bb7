/** Whether processes that are not this one's children have ended: Linux tells it in /proc, and nobody announces it. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const pollMs = 20;

/** Resolves when none of them runs any more; the test's own timeout ends a wait that is in vain. */
export async function allEnded(pids: readonly number[]): Promise<void> {
  while (pids.some(isRunning)) await delay(pollMs);
}

/** A zombie has ended: its parent has not asked how yet. */
export function isRunning(pid: number): boolean {
  try {
    const [state] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').slice(-1);
    return !/^[ZX]/.test(state ?? '');
  } catch {
    return false;
  }
}
