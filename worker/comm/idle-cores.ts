/** Whether a thread that reduces while others compute has a core to run on. */
import { availableParallelism } from 'node:os';

/**
 * @param numWorkers on this host
 * @param computeThreads threads of this processor that each of them computes with; 0: a GPU computes
 */
export function hasIdleCores(numWorkers: number, computeThreads: number, numCores = availableParallelism()): boolean {
  return numWorkers * (computeThreads + 1) <= numCores;
}
