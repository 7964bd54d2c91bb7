/** How long a run takes to go on when a worker is killed, or hangs: in the midst of steps, again and again. */
import { setTimeout as delay } from 'node:timers/promises';
import { LockstepError } from '../../src/errors.js';
import type { WorkerFlight } from '../../src/flight/records.js';
import { readFlight } from '../flight-files.js';
import { recoveryTimes, type RecoveryTimes } from './recovery-times.js';
import { TestedRun } from './tested-run.js';

export interface RecoveryOptions {
  /** At least 2, of which one is lost and replaced each time. */
  readonly numWorkers: number;
  readonly signal: 'SIGKILL' | 'SIGSTOP';
  readonly times: number;
  readonly onRecovery?: (times: RecoveryTimes) => void;
}

/** As `lockstep train` waits before it starts the first worker for one that died. */
const replacementDelayMs = 250;
/** After a join, for what the new worker does for the first time. */
const settlingMs = 500;
/** Far more than a step takes: the fault comes at any time within one. */
const randomMs = 500;
/** For recorders to write, which they do aside. */
const writingTimeoutMs = 5_000;
const pollMs = 20;

export async function measureRecoveries(options: RecoveryOptions): Promise<RecoveryTimes[]> {
  const { numWorkers, signal, times, onRecovery } = options;
  const run = await TestedRun.start(numWorkers);
  try {
    const measured: RecoveryTimes[] = [];
    while (measured.length < times) {
      await delay(settlingMs + randomMs * Math.random());
      const recovery = await measureRecovery(run, signal);
      measured.push(recovery);
      onRecovery?.(recovery);
    }
    return measured;
  } finally {
    await run.close();
  }
}

async function measureRecovery(run: TestedRun, signal: RecoveryOptions['signal']): Promise<RecoveryTimes> {
  const { workerIds } = run;
  const victim = workerIds[Math.floor(Math.random() * workerIds.length)] ?? '';
  const faultMs = await run.lose(victim, signal);
  const { workerIds: survivors } = run;
  await delay(replacementDelayMs);
  // At its join the others write down what they did since.
  await run.addWorker();
  const deadlineMs = performance.now() + writingTimeoutMs;
  do {
    const { workers, coordinator } = readFlight(run.folder);
    const newest = survivors.flatMap((id) => newestOf(workers.filter(({ workerId }) => workerId === id)) ?? []);
    const times = recoveryTimes(victim, faultMs, { survivors: newest, coordinator });
    if (times) return times;
    await delay(pollMs);
  } while (performance.now() < deadlineMs);
  const message = `The flight recorders of the run do not tell how it went on after ${signal} of ${victim}.`;
  throw new LockstepError('ERR_INTERNAL', message);
}

function newestOf(flights: readonly WorkerFlight[]): WorkerFlight | undefined {
  return flights.toSorted((a, b) => a.writtenMs - b.writtenMs).at(-1);
}
