/**
 * Validation, shared out over the slots like training: slot `s` evaluates its part of the rows in the same batches
 * whoever holds it, and sums in float64, so the result has the same bits for any number of workers.
 */
import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import type { SlotRange } from '../src/collective/assignment.js';
import type { Dataset } from '../src/job/dataset.js';
import type { SlotEvaluation } from '../src/protocol/messages.js';
import type { SlotStep } from './compute/step.js';
import { locate, readRows, slotsOf } from './gradients.js';

export interface EvaluationOptions {
  readonly step: SlotStep;
  readonly data: Dataset;
  /** Slots of the run. */
  readonly numSlots: number;
  /** Slots of this worker. */
  readonly slots: SlotRange;
  /** Rows at once. */
  readonly batchRows: number;
  /** Steps committed, for messages. */
  readonly numSteps: number;
}

export async function evaluate(options: EvaluationOptions): Promise<SlotEvaluation[]> {
  const results: SlotEvaluation[] = [];
  for (const slot of slotsOf(options.slots)) results.push(await evaluateSlot(options, slot));
  return results;
}

async function evaluateSlot(options: EvaluationOptions, slot: number): Promise<SlotEvaluation> {
  const { step, data, numSlots, batchRows, numSteps } = options;
  const first = Math.floor((slot * data.length) / numSlots);
  const end = Math.floor(((slot + 1) * data.length) / numSlots);
  let loss = 0;
  const metrics = step.metricNames.map(() => 0);
  for (let row = first; row < end; row += batchRows) {
    const indices = Array.from({ length: Math.min(batchRows, end - row) }, (_, i) => row + i);
    const batch = await readRows(data, indices, numSteps);
    const means = evaluateBatch(() => step.evaluate(batch), data, indices, numSteps);
    await turnOfTheEventLoop(); // a large validation is not to keep messages out
    loss += means.loss * indices.length;
    for (const [i, mean] of means.metrics.entries()) metrics[i] = (metrics[i] ?? 0) + mean * indices.length;
  }
  return { slot, rows: end - first, loss, metrics };
}

function evaluateBatch<T>(work: () => T, data: Dataset, indices: readonly number[], numSteps: number): T {
  try {
    return work();
  } catch (thrown) {
    throw locate(thrown, data, indices, numSteps);
  }
}
