/** What a run came to, as one JSON object: `--summary FILE`. */
import type { Recovery } from '../coordinator/membership-state.js';
import type { Straggler } from '../coordinator/stragglers.js';
import type { RunResult } from '../coordinator/coordinator-options.js';
import type { LockstepError } from '../src/errors.js';

/** What is fixed for the whole run. */
export interface Settled {
  readonly slots: number;
  readonly threads: number;
}

/** A run that has ended; null for what it did not get to. */
export interface Outcome {
  readonly runId: string;
  readonly error: LockstepError | null;
  readonly settled: Settled | null;
  readonly result: RunResult | null;
}

export interface Summary {
  readonly runId: string;
  readonly ok: boolean;
  readonly error: { readonly code: string; readonly message: string } | null;
  /** Steps committed, those before a resume included. */
  readonly steps: number;
  readonly epochs: number;
  readonly samplesSeen: number;
  /** Steps of this start that left the weights as they were: `onNotFinite: 'skip'`. */
  readonly skippedSteps: number;
  readonly workers: number;
  readonly slots: number | null;
  readonly generations: number;
  readonly finalLoss: number | null;
  /** Of the last step, and of the last validation (`val_…`). */
  readonly metrics: Readonly<Record<string, number>>;
  readonly wallSeconds: number;
  readonly samplesPerSecond: number | null;
  /** Where the time of a step goes on rank 0, in milliseconds: data, compute, network, optimizer, waiting. */
  readonly stepTime: Readonly<Record<string, number>> | null;
  readonly compiled: boolean;
  readonly engine: string | null;
  readonly weightsSha256: string | null;
  readonly checkpoint: string | null;
  /** In the order in which the run went on after them. */
  readonly recoveries: readonly RecoverySummary[];
  /** Workers that were slower than the others for a while. */
  readonly stragglers: readonly Straggler[];
}

export type RecoverySummary = Omit<Recovery, 'pid' | 'numWorkers'>;

function summarizeRecovery({ pid: _pid, numWorkers: _numWorkers, ...recovery }: Recovery): RecoverySummary {
  return recovery;
}

export function summarize(run: Outcome & { readonly numWorkers: number; readonly wallSeconds: number }): Summary {
  const record = run.result?.record ?? null;
  const schedule = record?.shape.schedule;
  const steps = record?.numSteps ?? 0;
  return {
    runId: run.runId,
    ok: run.error === null,
    error: run.error && { code: run.error.code, message: run.error.message },
    steps,
    epochs: schedule?.epochsAfter(steps) ?? 0,
    samplesSeen: schedule?.rowsSeen(steps) ?? 0,
    skippedSteps: record?.numSkipped ?? 0,
    workers: run.numWorkers,
    slots: run.settled?.slots ?? null,
    generations: run.result?.generations ?? 0,
    finalLoss: record?.last?.loss ?? null,
    metrics: { ...record?.last?.metrics, ...record?.validation?.metrics },
    wallSeconds: run.wallSeconds,
    samplesPerSecond: record?.samplesPerSecond() ?? null,
    stepTime: record?.stepTime ?? null,
    compiled: record?.shape.compiled ?? false,
    engine: record?.shape.engine ?? null,
    weightsSha256: run.result?.weightsSha256 ?? null,
    checkpoint: record?.checkpoint?.path ?? null,
    recoveries: record?.recoveries.map(summarizeRecovery) ?? [],
    stragglers: record?.stragglers ?? [],
  };
}
