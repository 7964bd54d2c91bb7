/** Which coordinator a worker follows: one of its run, and none of the past. */
import type { FromCoordinator, RunPlan } from '../protocol/messages.js';

/**
 * Whether who answers a worker's `hello` in this way has its run by now; `plan` is that of the last coordinator it followed. An abort is
 * of the run's end, or says that it went on without this worker.
 */
export function isFollowed(answer: FromCoordinator, { runId, term }: Pick<RunPlan, 'runId' | 'term'>): boolean {
  if (answer.type === 'abort') return true;
  return answer.type === 'welcome' && answer.plan.runId === runId && answer.plan.term >= term;
}
