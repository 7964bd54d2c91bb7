/** When a run evaluates, writes a checkpoint and ends: a pure function of the job and the number of rows. */
import { Sampler, type SamplerConfig } from './sampler.js';

export interface ScheduleConfig extends SamplerConfig {
  readonly epochs: number;
  /** Ends the run after this many steps at most; undefined: when the last epoch ends. */
  readonly steps?: number | undefined;
  readonly checkpointEverySteps?: number | undefined;
}

/** Steps are counted from 0; `numSteps` is how many have been committed. */
export class Schedule {
  readonly sampler: Sampler;
  readonly totalSteps: number;
  readonly #config: ScheduleConfig;

  /** @throws LockstepError ERR_JOB_INVALID, as the sampler has it */
  constructor(config: ScheduleConfig) {
    this.#config = config;
    this.sampler = new Sampler(config);
    const steps = config.epochs * this.sampler.stepsPerEpoch;
    this.totalSteps = Math.min(config.steps ?? steps, steps);
  }

  /** Epochs that are complete after `numSteps` steps. */
  epochsAfter(numSteps: number): number {
    return Math.floor(numSteps / this.sampler.stepsPerEpoch);
  }

  endsEpoch(numSteps: number): boolean {
    return numSteps > 0 && numSteps % this.sampler.stepsPerEpoch === 0;
  }

  wantsCheckpoint(numSteps: number): boolean {
    const every = this.#config.checkpointEverySteps;
    return this.endsEpoch(numSteps) || (every !== undefined && numSteps > 0 && numSteps % every === 0);
  }

  /** Rows used in the first `numSteps` steps. */
  rowsSeen(numSteps: number): number {
    const { stepsPerEpoch } = this.sampler;
    const epochs = this.epochsAfter(numSteps);
    const rest = this.#sumRows(epochs * stepsPerEpoch, numSteps);
    return epochs === 0 ? rest : epochs * this.#sumRows(0, stepsPerEpoch) + rest;
  }

  /** All batches of an epoch have `batchSize` rows but the last. */
  #sumRows(first: number, end: number): number {
    if (first === end) return 0;
    return (end - first - 1) * this.sampler.batchRows(first) + this.sampler.batchRows(end - 1);
  }
}
