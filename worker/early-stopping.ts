/**
 * Ends a run whose validation gets no better, after the same step whoever takes part. What validations have come to is known one step
 * later: it rides along in that step's all-reduce (validations.ts).
 */
import type { SlotRange } from '../src/collective/assignment.js';
import { hasWaited, judge, noValidation, type BestConfig, type Standing } from '../src/job/best.js';
import type { Schedule } from '../src/job/schedule.js';
import type { SlotEvaluation } from '../src/protocol/messages.js';
import type { FlatMemory } from '../src/state/memory.js';
import { slotRegion } from './comm/regions.js';
import type { Evaluation } from './evaluation.js';
import type { Prepared } from './preparation.js';
import { readValidations, writeValidations } from './validations.js';

interface EarlyStoppingOptions {
  readonly config: BestConfig;
  readonly memory: FlatMemory;
  readonly schedule: Schedule;
  readonly evaluation: Evaluation;
  /** Of the job's metrics. */
  readonly metricNames: readonly string[];
  /** Of the validation data. */
  readonly numRows: number;
}

export class EarlyStopping {
  readonly #options: EarlyStoppingOptions;
  /** Own slots' validation before the step that is next. */
  #results: readonly SlotEvaluation[] = [];

  private constructor(options: EarlyStoppingOptions) {
    this.#options = options;
  }

  /** Null where only the schedule ends the run. */
  static of(
    { loaded, data, step, schedule }: Pick<Prepared, 'loaded' | 'data' | 'step' | 'schedule'>,
    memory: FlatMemory,
    evaluation: Evaluation | null,
  ): EarlyStopping | null {
    const { best: config } = loaded.job;
    if (config?.patience === undefined || !data.validation || !evaluation) return null;
    const { metricNames } = step;
    return new EarlyStopping({ config, memory, schedule, evaluation, metricNames, numRows: data.validation.length });
  }

  /** Before a step: whether what it has to tell is there; not where the generation ends before. */
  async begin(step: number, slots: SlotRange, isOver: () => boolean): Promise<boolean> {
    const { schedule, evaluation } = this.#options;
    this.#results = [];
    if (!schedule.endsEpoch(step)) return true;
    const results = await evaluation.of(slots, step, isOver);
    this.#results = results ?? [];
    return results !== null;
  }

  /** Adds to a slot's partial of the step. */
  contribute(step: number, slot: number): void {
    const { memory, numRows } = this.#options;
    const result = this.#results.find((one) => one.slot === slot);
    const value = result ? this.#sumOf(result) / numRows : 0;
    const standing = slot === 0 ? this.#standing(step) : noValidation;
    writeValidations(memory, { value, ...standing }, slotRegion(slot));
  }

  /** Whether the run is to end after so many steps. */
  isOver(numSteps: number): boolean {
    return hasWaited(this.#options.config, this.#standing(numSteps));
  }

  #standing(numSteps: number): Standing {
    const { config, memory, schedule } = this.#options;
    const { value, best, count } = readValidations(memory);
    return schedule.endsEpoch(numSteps - 1) ? judge(config, { best, count }, value) : { best, count };
  }

  #sumOf({ loss, metrics }: SlotEvaluation): number {
    const { config, metricNames } = this.#options;
    const index = metricNames.indexOf(config.metric.slice('val_'.length));
    return index < 0 ? loss : (metrics[index] ?? NaN);
  }
}
