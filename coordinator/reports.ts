/** What workers report of the training itself: into the record, and on to whoever watches. */
import { assert, LockstepError } from '../src/errors.js';
import type { LoadedJob } from '../src/job/loaded-job.js';
import { Schedule } from '../src/job/schedule.js';
import type { Log } from '../src/log.js';
import type { FromWorker } from '../src/protocol/messages.js';
import type { Injection } from '../src/run-summary.js';
import type { RunJournal } from './coordinator-options.js';
import type { Member } from './membership-state.js';
import { RunRecord, type RecordBefore, type RunObserver, type ToldRecovery } from './run-record.js';

export interface ReportsOptions {
  readonly loaded: LoadedJob;
  readonly slots: number;
  readonly steps: number | null;
  readonly resume: { readonly path: string; readonly step: number } | null;
  /** Of a coordinator before this one; null: there was none, or nobody knows. */
  readonly before: RecordBefore | null;
  readonly journal: RunJournal | null;
  readonly observer: RunObserver;
  readonly onInjected?: (injection: Injection) => void;
  readonly log: Log;
}

export type Report = Extract<FromWorker, { type: 'progress' | 'evaluated' | 'checkpointed' }>;

export class Reports {
  readonly #options: ReportsOptions;
  #record: RunRecord | null = null;

  constructor(options: ReportsOptions) {
    this.#options = options;
  }

  /** Null before a worker is ready. */
  get record(): RunRecord | null {
    return this.#record;
  }

  /** The first worker that is ready tells about all. */
  onReady(workerId: string, ready: Extract<FromWorker, { type: 'ready' }>, members: Iterable<Member>): void {
    const { trainRows, metricNames, engine, compiled } = ready;
    this.#warnOfOtherDevices(workerId, ready.device, members);
    if (this.#record) return;
    const { loaded, slots, steps, resume, before } = this.#options;
    const schedule = new Schedule({ ...loaded.job, rows: trainRows, slots, steps: steps ?? loaded.job.steps });
    const shape = { schedule, metricNames, engine, compiled, firstStep: resume?.step ?? 0 };
    this.#record = new RunRecord(shape, slots, resume?.path ?? null, before);
  }

  onReport(report: Report): void {
    const { observer } = this.#options;
    const record = this.#record;
    assert(record, 'a worker trains before any was ready');
    if (report.type === 'progress') {
      observer.onSteps(record.addSteps(report, performance.now()), record);
    } else if (report.type === 'evaluated') {
      const validation = record.addEvaluation(report.step, report.slots);
      if (validation) observer.onValidation(validation);
    } else {
      record.addCheckpoint(report.step, report.path);
      observer.onCheckpoint(report.step, report.path);
    }
  }

  /** Whoever hears of it may count on the next coordinator to know of it too. */
  onRecovery(recovery: ToldRecovery): void {
    const { journal, observer } = this.#options;
    this.#record?.addRecovery(recovery);
    if (this.#record) journal?.note({ recoveries: this.#record.recoveries });
    observer.onRecovery(recovery);
  }

  onInjected(injection: Injection): void {
    this.#record?.addInjection(injection);
    this.#options.onInjected?.(injection);
  }

  /** Where to go on from, for whoever reads the error. */
  withCheckpoint(error: LockstepError): LockstepError {
    const checkpoint = this.#record?.checkpoint;
    const next = checkpoint
      ? `The last checkpoint is ${checkpoint.path} (step ${checkpoint.step}); go on from it with --resume.`
      : 'There is no checkpoint yet.';
    const details = { ...error.details, checkpoint: checkpoint?.path ?? null };
    return new LockstepError(error.code, `${error.message} ${next}`, { cause: error, details });
  }

  /** TensorFlow chooses its instructions by the processor, and with them the last bits of a gradient. */
  #warnOfOtherDevices(workerId: string, device: string, members: Iterable<Member>): void {
    const other = [...members].find((member) => member.device !== '' && member.device !== device);
    if (!other) return;
    this.#options.log.warn(
      `worker ${workerId} computes on ${device}, worker ${other.workerId} on ${other.device}: the weights' bits will ` +
        'depend on which of them holds which slot',
    );
  }
}
