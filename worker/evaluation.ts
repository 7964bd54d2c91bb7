/**
 * Validation, shared out over the slots like training: slot `s` evaluates its part of the rows in the same batches
 * whoever holds it, and sums in float64, so the result has the same bits for any number of workers. What was evaluated before
 * a generation ended is told again in the next one, and not worked out again.
 */
import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import type { SlotRange } from '../src/collective/assignment.js';
import type { Batch, Dataset } from '../src/job/dataset.js';
import type { SlotEvaluation } from '../src/protocol/messages.js';
import type { SlotStep } from './compute/step.js';
import { collectRows } from './collect.js';
import { locate, readRows } from './locate.js';

export interface EvaluationOptions {
  readonly step: SlotStep;
  readonly data: Dataset;
  readonly seed: number;
  /** Slots of the run. */
  readonly numSlots: number;
  /** Rows at once. */
  readonly batchRows: number;
  /** What is validated instead of the step's own weights. @default null */
  readonly averages?: readonly Float32Array[] | null;
}

export class Evaluation {
  readonly #options: EvaluationOptions;
  #numSteps = 0;
  readonly #results = new Map<number, SlotEvaluation>();

  constructor(options: EvaluationOptions) {
    this.#options = options;
  }

  /**
   * The results of these slots with the weights after `numSteps` steps; null where that is over before they are all there.
   *
   * @param isOver asked before each slot
   */
  async of(
    { firstSlot, endSlot }: SlotRange,
    numSteps: number,
    isOver: () => boolean,
  ): Promise<readonly SlotEvaluation[] | null> {
    const { step, averages } = this.#options;
    if (this.#numSteps !== numSteps) this.#results.clear();
    this.#numSteps = numSteps;
    // Early stopping asks for what has been told: nothing is bound for that.
    const known = this.#known({ firstSlot, endSlot });
    if (known) return known;
    if (!averages) return this.#evaluate({ firstSlot, endSlot }, numSteps, isOver);
    const { weights } = step;
    step.bindWeights(averages);
    try {
      return await this.#evaluate({ firstSlot, endSlot }, numSteps, isOver);
    } finally {
      step.bindWeights(weights);
    }
  }

  /** Null where one is not there yet. */
  #known({ firstSlot, endSlot }: SlotRange): readonly SlotEvaluation[] | null {
    const results = Array.from({ length: endSlot - firstSlot }, (_, i) => this.#results.get(firstSlot + i));
    return results.every((result) => result !== undefined) ? results : null;
  }

  async #evaluate(
    { firstSlot, endSlot }: SlotRange,
    numSteps: number,
    isOver: () => boolean,
  ): Promise<readonly SlotEvaluation[] | null> {
    const results: SlotEvaluation[] = [];
    for (let slot = firstSlot; slot < endSlot; slot++) {
      if (isOver()) return null;
      const result = this.#results.get(slot) ?? (await evaluateSlot(this.#options, slot, numSteps));
      this.#results.set(slot, result);
      results.push(result);
    }
    return results;
  }
}

async function evaluateSlot(options: EvaluationOptions, slot: number, numSteps: number): Promise<SlotEvaluation> {
  const { step, data, seed, numSlots, batchRows } = options;
  const collect = (numRows: number, row: number): Batch =>
    collectRows({
      ...{ model: step, data, key: { purpose: 'trial', seed, step: numSteps, row } },
      context: { step: numSteps, slot, numRows },
    });
  const first = Math.floor((slot * data.length) / numSlots);
  const end = Math.floor(((slot + 1) * data.length) / numSlots);
  let loss = 0;
  const metrics = step.metricNames.map(() => 0);
  for (let row = first; row < end; row += batchRows) {
    const indices = Array.from({ length: Math.min(batchRows, end - row) }, (_, i) => row + i);
    const batch = data.collect ? collect(indices.length, row) : await readRows(data, indices, numSteps);
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
