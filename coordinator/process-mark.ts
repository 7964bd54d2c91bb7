/** Processes that are not children of this one, told apart from later ones with the same id by when they started. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

export interface ProcessMark {
  readonly pid: number;
  /** Clock ticks from the machine's start to that of the process: field 22 of proc_pid_stat(5). */
  readonly startTicks: string;
}

const pollMs = 100;
/** Fields of the file count from 1, and those before the state are cut off with the name in brackets. */
const startTicksField = 22 - 3;

/** Null where there is no such process, or it has ended and nobody has asked how. */
export function markOf(pid: number): ProcessMark | null {
  const fields = statOf(pid);
  const [state = 'X'] = fields;
  const startTicks = fields[startTicksField];
  return startTicks === undefined || /[ZX]/.test(state) ? null : { pid, startTicks };
}

export function isRunning({ pid, startTicks }: ProcessMark): boolean {
  return markOf(pid)?.startTicks === startTicks;
}

/** Nobody announces the end of a process that is no child. */
export async function processEnd(mark: ProcessMark): Promise<void> {
  while (isRunning(mark)) await delay(pollMs, undefined, { ref: false });
}

function statOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  } catch {
    return [];
  }
}
