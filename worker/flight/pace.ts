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
  const sums = { data: 0, compute: 0, network: 0, optimizer: 0 };
  const { length } = ring;
  let count = 0;
  // On the comm thread, at each heartbeat: nothing is copied.
  for (let back = 1; back <= length; back++) {
    if (ring.value(back, 1) !== generation || ring.value(back, 0) < firstStep + numUncounted) break;
    if (count >= numSteps && ring.value(back, 2) < nowMs - spanMs) break;
    sums.data += ring.value(back, 3);
    sums.compute += ring.value(back, 4);
    sums.network += ring.value(back, 5);
    sums.optimizer += ring.value(back, 6);
    count++;
  }
  if (count === 0) return null;
  const { data, compute, network, optimizer } = sums;
  return { data: data / count, compute: compute / count, network: network / count, optimizer: optimizer / count };
}
