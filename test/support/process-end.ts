/** Whether processes that are not this one's children have ended, or stand still: Linux tells it in /proc, and nobody announces it. */
import { readdirSync, readFileSync } from 'node:fs';
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

/** Stops them, and resolves when none of their threads runs: a signal is sent in an instant, and a write goes on to its end. */
export async function standStill(pids: readonly number[]): Promise<void> {
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  while (pids.flatMap(threadStates).some((state) => state !== 'T')) await delay(pollMs);
}

function threadStates(pid: number): (string | undefined)[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => {
    const [state] = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8').split(') ').slice(-1);
    return state?.[0];
  });
}
