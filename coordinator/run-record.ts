/** What a run has come to so far: its steps, validations and checkpoints, as workers report them. */
import type { SlotEvaluation, StepRecord } from '../src/protocol/messages.js';
import type { Schedule } from '../src/job/schedule.js';
import type { Injection, Straggler } from '../src/run-summary.js';
import type { Recovery } from './membership-state.js';

/** What the first worker that is ready tells about all. */
export interface RunShape {
  readonly schedule: Schedule;
  readonly metricNames: readonly string[];
  readonly engine: string;
  readonly compiled: boolean;
  /** Steps that were done before this start. */
  readonly firstStep: number;
}

export interface Validation {
  readonly step: number;
  readonly epoch: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/** What a coordinator before this one has recorded of the run. */
export interface RecordBefore {
  readonly last: StepLine | null;
  readonly validation: Validation | null;
  readonly numSkipped: number;
  readonly recoveries: readonly ToldRecovery[];
  readonly injections: readonly Injection[];
  readonly checkpoint: { readonly step: number; readonly path: string } | null;
}

export type StepTime = Readonly<Record<string, number>>;

export interface StepLine {
  readonly step: number;
  readonly epoch: number;
  readonly loss: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/** As it is written down. */
export interface ToldRecovery extends Recovery {
  /** Committed steps that are taken again: `step` is that of a checkpoint, as nobody held the state whole any more. */
  readonly redoneSteps: number;
}

/** Told what happens, for a progress bar or a log. */
export interface RunObserver {
  onSteps(lines: readonly StepLine[], record: RunRecord): void;
  onValidation(validation: Validation): void;
  onCheckpoint(step: number, path: string): void;
  /** The run has gone on after a worker was lost, or with a new one. */
  onRecovery(recovery: ToldRecovery): void;
  /** What the run waits for has changed; null: nothing. */
  onReason(reason: string | null): void;
}

export class RunRecord {
  readonly shape: RunShape;
  readonly #slots: number;
  readonly #evaluations = new Map<number, Map<number, SlotEvaluation>>();
  readonly #recoveries: ToldRecovery[] = [];
  #stragglers: readonly Straggler[] = [];
  readonly #injections: Injection[] = [];
  #last: StepLine | null = null;
  #validation: Validation | null = null;
  #stepTime: StepTime | null = null;
  #checkpoint: { readonly step: number; readonly path: string } | null;
  #numSkipped = 0;
  #started: { readonly atMs: number; readonly step: number } | null = null;
  #endedMs: number | null = null;

  constructor(shape: RunShape, slots: number, checkpoint: string | null, before: RecordBefore | null = null) {
    this.shape = shape;
    this.#slots = slots;
    this.#checkpoint = checkpoint === null ? null : { step: shape.firstStep, path: checkpoint };
    if (!before) return;
    this.#last = before.last;
    this.#validation = before.validation;
    this.#numSkipped = before.numSkipped;
    this.#recoveries.push(...before.recoveries);
    this.#injections.push(...before.injections);
    this.#checkpoint = before.checkpoint ?? this.#checkpoint;
  }

  get last(): StepLine | null {
    return this.#last;
  }

  get validation(): Validation | null {
    return this.#validation;
  }

  /** Where the time of a step goes on rank 0: milliseconds per step, by name. */
  get stepTime(): StepTime | null {
    return this.#stepTime;
  }

  get checkpoint(): { readonly step: number; readonly path: string } | null {
    return this.#checkpoint;
  }

  /** Steps committed in the run, those before a resume included. */
  get numSteps(): number {
    return this.#last?.step ?? this.shape.firstStep;
  }

  /** Steps after which the last validation was; of those before a resume none is asked for. */
  get numValidated(): number {
    return Math.max(this.shape.firstStep, this.#validation?.step ?? 0);
  }

  /** Steps of this start that were skipped: what was not finite is told as their loss. */
  get numSkipped(): number {
    return this.#numSkipped;
  }

  /** Training goes on, with so many steps committed; what counts is when it did first. */
  start(nowMs: number, step: number): void {
    this.#started ??= { atMs: nowMs, step };
  }

  get recoveries(): readonly ToldRecovery[] {
    return this.#recoveries;
  }

  /**
   * What is new among the records: after a loss the new rank 0 tells again what the old one may not have told.
   *
   * @param stepTime milliseconds per step, by what they go into */
  addSteps(
    { records, stepTime }: { readonly records: readonly StepRecord[]; readonly stepTime: StepTime | null },
    nowMs: number,
  ): StepLine[] {
    this.#stepTime = stepTime ?? this.#stepTime;
    const lines = records
      .filter(({ step }) => step > this.numSteps)
      .map(({ step, loss, metrics }) => {
        const { epoch } = this.shape.schedule.sampler.position(step - 1);
        return { step, epoch: epoch + 1, loss, metrics: named(this.shape.metricNames, metrics) };
      });
    this.#numSkipped += lines.filter(({ loss }) => !Number.isFinite(loss)).length;
    this.#last = lines.at(-1) ?? this.#last;
    this.#endedMs = nowMs;
    return lines;
  }

  /**
   * The validation after `step`, once all slots are in, and once only, whoever tells of a slot again: means in slot order, so the same bits
   * for any workers.
   */
  addEvaluation(step: number, slots: readonly SlotEvaluation[]): Validation | null {
    if (step <= (this.#validation?.step ?? -1)) return null;
    const all = new Map([...(this.#evaluations.get(step) ?? []), ...slots.map((slot) => [slot.slot, slot] as const)]);
    this.#evaluations.set(step, all);
    if (all.size < this.#slots) return null;
    this.#evaluations.delete(step);
    const { loss, metrics } = meanOfSlots([...all.values()].toSorted((a, b) => a.slot - b.slot));
    const names = this.shape.metricNames.map((name) => `val_${name}`);
    this.#validation = {
      step,
      epoch: this.shape.schedule.epochsAfter(step),
      metrics: { val_loss: loss, ...named(names, metrics) },
    };
    return this.#validation;
  }

  addRecovery(recovery: ToldRecovery): void {
    this.#recoveries.push(recovery);
  }

  /** Those that were and those that are, in the order in which they were named. */
  get stragglers(): readonly Straggler[] {
    return this.#stragglers;
  }

  /** It is named, or no straggler any more. */
  addStraggler(straggler: Straggler): void {
    const others = this.#stragglers.filter(
      ({ workerId, sinceStep }) => workerId !== straggler.workerId || sinceStep !== straggler.sinceStep,
    );
    this.#stragglers = [...others, straggler];
  }

  get injections(): readonly Injection[] {
    return this.#injections;
  }

  addInjection(injection: Injection): void {
    this.#injections.push(injection);
  }

  addCheckpoint(step: number, path: string): void {
    this.#checkpoint = { step, path };
  }

  /** Rows per second since the first step of this start; null before there is a step. */
  samplesPerSecond(): number | null {
    const { schedule } = this.shape;
    const [started, endedMs] = [this.#started, this.#endedMs];
    if (started === null || endedMs === null || endedMs <= started.atMs) return null;
    const rows = schedule.rowsSeen(this.numSteps) - schedule.rowsSeen(started.step);
    return rows / ((endedMs - started.atMs) / 1000);
  }
}

/** Over all rows, in the order given. */
export function meanOfSlots(slots: readonly SlotEvaluation[]): { loss: number; metrics: number[] } {
  const rows = slots.reduce((sum, slot) => sum + slot.rows, 0);
  const loss = slots.reduce((sum, slot) => sum + slot.loss, 0) / rows;
  const metrics = (slots[0]?.metrics ?? []).map(
    (_, i) => slots.reduce((sum, slot) => sum + (slot.metrics[i] ?? 0), 0) / rows,
  );
  return { loss, metrics };
}

function named(names: readonly string[], values: readonly number[]): Record<string, number> {
  return Object.fromEntries(names.map((name, i) => [name, values[i] ?? NaN]));
}
