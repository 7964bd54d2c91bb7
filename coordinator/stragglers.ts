/**
 * Says which worker is slower than the others, by the time that its own part of a step takes: reading rows and computing
 * gradients, for each slot that it has. What it waits for others does not count, so that one slow worker does not hide behind
 * the rest. It is named after several heartbeats in a row, and no longer after as many that are better.
 */
import type { FromWorker } from '../src/protocol/messages.js';
import type { Straggler } from '../src/run-summary.js';

/** Milliseconds per step, of a worker's last steps. */
export type Pace = NonNullable<Extract<FromWorker, { type: 'heartbeat' }>['pace']>;

export interface PacedWorker {
  readonly workerId: string;
  /** Slots that it has. */
  readonly numSlots: number;
}

const slowFactor = 1.5;
/** Less than that is as fast as the others again. */
const fastFactor = 1.25;
/** A smaller difference is none, whatever it is by the other's time. */
const leastExcessMs = 0.1;
/** Heartbeats in a row that say the same, each of them after a further step. */
const numAgreeing = 10;

interface Told extends PacedWorker {
  readonly data: number;
  readonly compute: number;
}

interface Watched {
  readonly told: Told;
  readonly step: number;
  /** Heartbeats in a row that speak against how it is called. */
  readonly numAgainst: number;
}

export class Stragglers {
  readonly #watched = new Map<string, Watched>();
  readonly #named = new Map<string, { readonly straggler: Straggler; readonly sinceMs: number }>();
  #generation = 0;

  /** How this worker is called, for a status; null: no straggler. */
  of(workerId: string): Straggler | null {
    return this.#named.get(workerId)?.straggler ?? null;
  }

  /** For how long it has been one; 0: it is none. */
  slowForMs(workerId: string, nowMs: number): number {
    const named = this.#named.get(workerId);
    return named ? nowMs - named.sinceMs : 0;
  }

  /** A heartbeat of a worker: what changes with it, if anything. Another generation has other slots, and begins anew. */
  add(
    workerId: string,
    heartbeat: { readonly step: number; readonly pace: Pace | null },
    { generation, workers, nowMs }: { generation: number; workers: readonly PacedWorker[]; nowMs: number },
  ): Straggler | null {
    if (generation !== this.#generation) this.#begin(generation, workers);
    const { step, pace } = heartbeat;
    const worker = workers.find((one) => one.workerId === workerId);
    const before = this.#watched.get(workerId);
    if (!worker || !pace || worker.numSlots === 0 || step <= (before?.step ?? -1)) return null;
    const told = { ...worker, data: pace.data / worker.numSlots, compute: pace.compute / worker.numSlots };
    const others = [...this.#watched.values()].flatMap((one) => (one.told.workerId === workerId ? [] : one.told));
    const found = compare(told, others);
    const isNamed = this.#named.has(workerId);
    const isAgainst = isNamed ? found.factor < fastFactor : found.factor > slowFactor && found.excessMs > leastExcessMs;
    const numAgainst = isAgainst ? (before?.numAgainst ?? 0) + 1 : 0;
    const isSettled = numAgainst >= numAgreeing;
    this.#watched.set(workerId, { told, step, numAgainst: isSettled ? 0 : numAgainst });
    if (!isSettled) return null;
    return isNamed ? this.#clear(workerId, step) : this.#name(told, others, { step, nowMs, factor: found.factor });
  }

  #begin(generation: number, workers: readonly PacedWorker[]): void {
    this.#generation = generation;
    this.#watched.clear();
    for (const workerId of this.#named.keys()) {
      if (!workers.some((one) => one.workerId === workerId)) this.#named.delete(workerId);
    }
  }

  #name(
    told: Told,
    others: readonly Told[],
    { step, nowMs, factor }: { step: number; nowMs: number; factor: number },
  ): Straggler {
    const excess = (phase: 'data' | 'compute'): number => told[phase] - median(others.map((one) => one[phase]));
    const phase = excess('data') > excess('compute') ? 'data' : 'compute';
    const straggler = {
      workerId: told.workerId,
      factor,
      phase,
      ownMs: told[phase],
      othersMs: median(others.map((one) => one[phase])),
      sinceStep: step,
      untilStep: null,
    } as const;
    this.#named.set(told.workerId, { straggler, sinceMs: nowMs });
    return straggler;
  }

  #clear(workerId: string, untilStep: number): Straggler | null {
    const straggler = this.of(workerId);
    this.#named.delete(workerId);
    return straggler && { ...straggler, untilStep };
  }
}

function compare(told: Told, others: readonly Told[]): { readonly factor: number; readonly excessMs: number } {
  if (others.length === 0) return { factor: 1, excessMs: 0 };
  const ownMs = told.data + told.compute;
  const othersMs = median(others.map(({ data, compute }) => data + compute));
  return { factor: othersMs > 0 ? ownMs / othersMs : 1, excessMs: ownMs - othersMs };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}

/** "worker w1 is a straggler from step 120 on: 2.3 times as slow as the others; compute takes 12.1 ms per slot, 5.2 ms elsewhere" */
export function describeStraggler({ workerId, factor, phase, ownMs, othersMs, ...step }: Straggler): string {
  if (step.untilStep !== null) {
    return `worker ${workerId} is no straggler any more, at step ${step.untilStep}`;
  }
  const times = `${phase} takes ${ownMs.toFixed(2)} ms per slot, ${othersMs.toFixed(2)} ms elsewhere`;
  return `worker ${workerId} is a straggler at step ${step.sinceStep}: ${factor.toFixed(1)} times as slow as the others; ${times}`;
}
