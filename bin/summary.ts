/** What a run came to, as one JSON object: `--summary FILE`. */
import type { ToldRecovery } from '../coordinator/run-record.js';
import type { RunResult } from '../coordinator/coordinator-options.js';
import type { LockstepError } from '../src/errors.js';
import type { RecoverySummary, RunSummary } from '../src/run-summary.js';

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

export type Summary = RunSummary;

function summarizeRecovery({ pid: _pid, numWorkers: _numWorkers, ...recovery }: ToldRecovery): RecoverySummary {
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
    injected: record?.injections ?? [],
  };
}
