/** What a worker's last steps took, as its heartbeat tells. */
import type { StepRing } from '../../src/flight/step-ring.js';

/** A generation's first steps touch new memory, and compile for slots that are new here. */
const numUncounted = 5;
/** Of so many steps the mean, or of those of the last second, where they are more. */
const numSteps = 20;
const spanMs = 1000;

export interface Pace {
  readonly data: number;
  readonly compute: number;
  readonly network: number;
  readonly optimizer: number;
}

/** Milliseconds per step; null where a generation that began with `firstStep` has not taken enough. */
export function paceOf(
  ring: StepRing,
  { generation, step: firstStep }: { readonly generation: number; readonly step: number },
  nowMs: number,
): Pace | null {
  const rows = ring.last().filter(([step = 0, of]) => of === generation && step >= firstStep + numUncounted);
  const recent = rows.filter(([, , begunMs = 0], index) => index >= rows.length - numSteps || begunMs > nowMs - spanMs);
  if (recent.length === 0) return null;
  const mean = (column: number): number => recent.reduce((sum, row) => sum + (row[column] ?? 0), 0) / recent.length;
  return { data: mean(3), compute: mean(4), network: mean(5), optimizer: mean(6) };
}
