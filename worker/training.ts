/**
 * The training loop of one worker in one generation: compute the slots' gradients, let the comm thread reduce and commit
 * them, and between steps evaluate and write checkpoints where the schedule says so.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import type { Bucket } from '../src/collective/buckets.js';
import type { Log } from '../src/log.js';
import type { FromWorker, RosterEntry } from '../src/protocol/messages.js';
import { weightsDigest } from '../src/state/digest.js';
import { type FlatMemory, PARAMETERS } from '../src/state/memory.js';
import type { Brake } from './brake.js';
import { checkpointFacts } from './checkpoint-facts.js';
import { startAsideWriter } from './checkpoint/aside-writer.js';
import { Checkpoints, type CheckpointsOptions } from './checkpoint/checkpoints.js';
import type { Sharding } from './checkpoint/tensors.js';
import type { CommTimes } from './comm/comm-times.js';
import type { StepWords } from './comm/step-words.js';
import { evaluate } from './evaluation.js';
import { Gradients } from './gradients.js';
import type { Inbox } from './inbox.js';
import type { Prepared } from './preparation.js';
import { ProgressReport } from './progress-report.js';
import { Readiness } from './readiness.js';
import { StepTimes } from './step-times.js';

export interface TrainingOptions {
  readonly prepared: Prepared;
  /** This worker's place in the generation. */
  readonly self: RosterEntry;
  readonly memory: FlatMemory;
  readonly buckets: readonly Bucket[];
  /** How moments are shared out; null: each worker holds them all. */
  readonly sharding: Sharding | null;
  readonly words: StepWords;
  readonly times: CommTimes;
  /** Wakes the comm thread from inside of a step; 0 for none. */
  readonly waker: number;
  readonly inbox: Inbox;
  readonly brake: Brake;
  readonly send: (message: FromWorker) => void;
  readonly log: Log;
}

/** A drain or an abort is seen this late at most. */
const blockMs = 20;

export class Training {
  readonly #options: TrainingOptions;
  readonly #gradients: Gradients;
  readonly #progress: ProgressReport;
  readonly #times: StepTimes;
  readonly #checkpoints: Checkpoints | null;
  /** Steps committed. */
  #numSteps: number;

  constructor(options: TrainingOptions) {
    const { prepared, memory, self, words } = options;
    const { step, schedule, data, loaded, firstStep } = prepared;
    this.#options = options;
    this.#numSteps = firstStep;
    this.#times = new StepTimes(options.times);
    this.#progress = new ProgressReport(self.rank === 0 ? options.send : () => undefined, this.#times);
    this.#checkpoints = this.#makeCheckpoints();
    this.#gradients = new Gradients({
      step,
      memory,
      sampler: schedule.sampler,
      data: data.train,
      seed: loaded.job.seed,
      slots: self,
      microBatches: loaded.job.microBatches,
      readiness: new Readiness({ layout: memory.layout, buckets: options.buckets, words, waker: options.waker }),
    });
  }

  /** Trains to the end of the schedule, or to where the coordinator stops the run. */
  async run(): Promise<void> {
    const { brake, prepared } = this.#options;
    const { schedule } = prepared;
    while (this.#numSteps < schedule.totalSteps && (await brake.mayBegin(this.#numSteps))) {
      await this.#step(this.#numSteps);
      if (schedule.endsEpoch(this.#numSteps)) await this.#evaluate();
      if (this.#wantsCheckpoint()) await this.#checkpoint('take');
    }
    await this.#checkpoint('finish');
    this.#progress.flush();
    this.#options.send({ type: 'finished', step: this.#numSteps, weightsSha256: this.#weightsSha256() });
  }

  /** A checkpoint in flight is finished. */
  async close(): Promise<void> {
    await this.#checkpoints?.close();
  }

  /** That of the last step follows it. */
  #wantsCheckpoint(): boolean {
    const { schedule } = this.#options.prepared;
    if (this.#numSteps === schedule.totalSteps) return false;
    return schedule.wantsCheckpoint(this.#numSteps) || this.#checkpoints?.isDue === true;
  }

  async #step(step: number): Promise<void> {
    const { inbox, memory, prepared } = this.#options;
    const begun = performance.now();
    const batches = this.#gradients.inHand(step) ?? (await inbox.unlessFailed(this.#gradients.read(step)));
    const read = performance.now();
    this.#gradients.compute(step, batches);
    const computed = performance.now();
    if (step + 1 < prepared.schedule.totalSteps) this.#gradients.prefetch(step + 1);
    await this.#committed(step);
    this.#times.add(begun, read, computed, performance.now());
    this.#numSteps = step + 1;
    const { segment, offset } = memory.layout.scalars;
    const [loss = NaN, ...metrics] = memory
      .view(PARAMETERS, segment)
      .subarray(offset, offset + memory.layout.numScalars);
    this.#progress.add({ step: this.#numSteps, loss, metrics });
  }

  /**
   * Lets messages come in and rows be read, once a step at least. When the next rows are in hand there is nothing else to
   * do: then this thread blocks for a while, which wakes sooner than its event loop does.
   */
  async #committed(step: number): Promise<void> {
    const { inbox, words } = this.#options;
    await inbox.unlessFailed(turnOfTheEventLoop());
    if (this.#gradients.inHand(step + 1) && words.blockUntilCommitted(step, blockMs)) return;
    await inbox.unlessFailed(words.committed(step));
  }

  async #evaluate(): Promise<void> {
    const { prepared, self, inbox, send } = this.#options;
    const { data, step, plan, loaded } = prepared;
    if (!data.validation) return;
    const evaluating = evaluate({
      step,
      data: data.validation,
      numSlots: plan.slots,
      slots: self,
      batchRows: Math.max(1, Math.ceil(loaded.job.batchSize / plan.slots)),
      numSteps: this.#numSteps,
    });
    const slots = await inbox.unlessFailed(evaluating);
    this.#progress.flush();
    send({ type: 'evaluated', step: this.#numSteps, slots });
  }

  async #checkpoint(how: 'take' | 'finish'): Promise<void> {
    const { prepared, inbox } = this.#options;
    const checkpoints = this.#checkpoints;
    if (checkpoints) await inbox.unlessFailed(checkpoints[how](checkpointFacts(prepared, this.#numSteps)));
  }

  /** Rank 0 writes them, and decides alone when: the others wait for its partials. */
  #makeCheckpoints(): Checkpoints | null {
    const { prepared, self, memory, sharding, send, inbox, log } = this.#options;
    const { plan, loaded, firstStep } = prepared;
    if (self.rank !== 0) return null;
    const options: CheckpointsOptions = {
      folder: join(plan.runDir, 'checkpoints'),
      keep: loaded.job.checkpointsKept,
      memory,
      sharding,
      everySeconds: loaded.job.checkpointEverySeconds ?? null,
      startWriter: startAsideWriter,
      now: () => performance.now(),
      availableBytes: () => process.availableMemory(),
      onWritten: (step, path) => {
        this.#progress.flush();
        send({ type: 'checkpointed', step, path });
      },
      onFailure: (error) => {
        inbox.fail(error);
      },
      log,
    };
    return new Checkpoints(options, firstStep);
  }

  #weightsSha256(): string {
    const hash = createHash('sha256');
    weightsDigest(this.#options.memory.layout, this.#options.memory, hash);
    return hash.digest('hex');
  }
}
