/** How long a run took to go on after a loss, and what that time went into, from what its flight recorders wrote. */
import { stepColumns, type CoordinatorEvent, type WorkerFlight } from '../../src/flight/records.js';

/** Milliseconds, one after the other; their sum is `total`. */
export interface RecoveryTimes {
  /** Until the coordinator took the worker for lost. */
  readonly noticed: number;
  /** Until all others had halted, and the next generation was formed. */
  readonly formed: number;
  /** Until they were connected, and told to go on. */
  readonly started: number;
  /** Until the last one began with the step: it finishes what it computes. */
  readonly begun: number;
  /** Until all gradients were there again: the lost worker's slot is computed by another one. */
  readonly recomputed: number;
  /** Until the last one had committed the step. */
  readonly committed: number;
  /** From the fault to the next committed step. */
  readonly total: number;
  /**
   * The part of `recomputed` that is left out of `less`: at most what a step usually takes the worker that did it, so that what made it
   * slower than that counts.
   */
  readonly recomputation: number;
  /** `total` less the recomputation. */
  readonly less: number;
}

/** By a column of a worker's record. */
type Step = Readonly<Record<(typeof stepColumns)[number], number>>;

export interface Records {
  /** Of those that went on. */
  readonly survivors: readonly WorkerFlight[];
  readonly coordinator: readonly CoordinatorEvent[];
}

/** @param faultMs by the clock of the recorders, when the worker was sent the signal; null where the records do not tell */
export function recoveryTimes(workerId: string, faultMs: number, records: Records): RecoveryTimes | null {
  const { survivors, coordinator } = records;
  const noticed = coordinator.find(
    ({ kind, text, atMs }) => atMs >= faultMs && ['lost', 'evict'].includes(kind) && text.startsWith(`${workerId}: `),
  );
  const started = coordinator.find(({ kind, atMs }) => kind === 'start' && atMs >= (noticed?.atMs ?? Infinity));
  const formed = coordinator.find((one) => one.kind === 'generation' && one.generation === started?.generation);
  const histories = survivors.map((flight) => flight.steps.map(stepOf));
  const firsts = histories.map((steps) => firstOf(steps, started?.generation ?? null));
  const slowest = firsts
    .flatMap((first) => first ?? [])
    .toSorted((a, b) => readyMs(a.step) - readyMs(b.step))
    .at(-1);
  if (!noticed || !started || !formed || !slowest || firsts.includes(null)) return null;
  const committedMs = Math.max(...firsts.flatMap((first) => (first ? committedAt(first.step) : [])));
  const { step, usualMs } = slowest;
  const total = committedMs - faultMs;
  const recomputed = step.data + step.compute;
  const recomputation = Math.min(recomputed, usualMs);
  return {
    noticed: noticed.atMs - faultMs,
    formed: formed.atMs - noticed.atMs,
    started: started.atMs - formed.atMs,
    begun: step.begunMs - started.atMs,
    recomputed,
    committed: committedMs - readyMs(step),
    total,
    recomputation,
    less: total - recomputation,
  };
}

function stepOf(row: readonly number[]): Step {
  return Object.fromEntries(stepColumns.map((column, index) => [column, row[index] ?? NaN])) as Step; // one of each
}

/** The first step of a generation, and what the steps before it took to compute; null where they are not there any more. */
function firstOf(steps: readonly Step[], generation: number | null): { step: Step; usualMs: number } | null {
  const index = steps.findIndex((step) => step.generation === generation);
  const step = steps[index];
  const before = steps.slice(0, Math.max(0, index)).map(({ data, compute }) => data + compute);
  if (!step || before.length === 0) return null;
  return { step, usualMs: before.toSorted((a, b) => a - b)[Math.floor(before.length / 2)] ?? NaN };
}

function readyMs({ begunMs, data, compute }: Step): number {
  return begunMs + data + compute;
}

function committedAt(step: Step): number {
  return readyMs(step) + step.network + step.optimizer + step.waiting;
}
