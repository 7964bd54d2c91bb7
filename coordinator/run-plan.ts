/** What of a coordinator's options its membership machine and its workers go by. */
import type { Facts } from '../src/protocol/facts.js';
import type { RunPlan } from '../src/protocol/messages.js';
import type { CoordinatorOptions } from './coordinator-options.js';
import type { MembershipConfig, MembershipState } from './membership-state.js';

export function membershipConfig(options: CoordinatorOptions, facts: Facts): MembershipConfig {
  const { runId, term, past, numWorkers, minWorkers, slots, limits, loaded, resume } = options;
  return {
    runId,
    term,
    past,
    numWorkers,
    minWorkers,
    slots,
    isSharded: loaded.job.optimizer.sharded,
    checkpoint: past?.checkpoint ?? (resume && { step: resume.step, path: resume.path }),
    facts,
    patience: limits,
  };
}

export function runPlan(
  { runDir, journal, loaded, overrides, slots, threads, steps, resume, limits }: CoordinatorOptions,
  { runId, term, hasStarted }: MembershipState,
  served: RunPlan['served'],
): RunPlan {
  return {
    runId,
    term,
    runDir,
    runDirMark: journal?.owner ?? null,
    jobPath: loaded.path,
    overrides: [...overrides],
    slots,
    threads,
    steps,
    // The run's own checkpoints come and go: whoever joins later has the state from the others.
    resumeFrom: hasStarted ? null : (resume?.path ?? null),
    served,
    heartbeatMs: limits.heartbeatMs,
  };
}
