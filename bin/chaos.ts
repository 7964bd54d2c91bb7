/** The faults of `--chaos`: those that a run can have, and has not had. */
import { formatFault, isWorkerFault, type Fault } from '../src/chaos/faults.js';
import { LockstepError } from '../src/errors.js';
import type { Injection } from '../src/run-summary.js';

interface RunWithFaults {
  readonly faults: readonly Fault[];
  readonly numWorkers: number;
  readonly maxWorkers: number | undefined;
  readonly runDir: string | undefined;
}

/** @throws LockstepError ERR_USAGE where a fault can never come */
export function refuseImpossible({ faults, numWorkers, maxWorkers, runDir }: RunWithFaults, slots: number): void {
  const most = Math.min(slots, maxWorkers ?? slots);
  let numWanted = numWorkers;
  for (const fault of faults.toSorted((a, b) => a.step - b.step)) {
    if (fault.kind === 'join') numWanted++;
    if (numWanted > most) throw impossible(fault, `the run has ${most} worker(s) at most`);
    if (isWorkerFault(fault) && fault.rank >= most) throw impossible(fault, `there are ranks 0 to ${most - 1} at most`);
    if (fault.kind === 'coordinator' && runDir === undefined) {
      throw impossible(fault, 'who starts it again has to know the run: give --run-dir DIR');
    }
  }
}

/** A run that goes on in its folder, as after its coordinator was killed, has those behind it that came before. */
export function faultsLeft(faults: readonly Fault[], had: readonly Injection[]): Fault[] {
  const texts = had.map(({ fault }) => fault);
  return faults.filter((fault) => !texts.includes(formatFault(fault)));
}

function impossible(fault: Fault, why: string): LockstepError {
  return new LockstepError('ERR_USAGE', `--chaos: ${formatFault(fault)} can never come: ${why}.`);
}
