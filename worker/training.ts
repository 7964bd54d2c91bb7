/**
 * The training loop of one worker, through all generations of a run: compute the slots' gradients, let the comm thread reduce
 * and commit them, and between steps evaluate and write checkpoints where the schedule says so. What a halt cuts off is taken
 * up in the next generation: partials of the step and results of an evaluation that are here count there.
 */
import { createHash } from 'node:crypto';
import type { LockstepError } from '../src/errors.js';
import type { Entry } from '../src/membership/participant.js';
import type { Log } from '../src/log.js';
import type { FromWorker } from '../src/protocol/messages.js';
import { weightsDigest } from '../src/state/digest.js';
import { type FlatMemory, PARAMETERS } from '../src/state/memory.js';
import { stateHash } from '../src/state/state-hash.js';
import { Augmentation } from './augmentation.js';
import { checkpointFacts, checkpointsOf } from './checkpoint-facts.js';
import { startAsideWriter } from './checkpoint/aside-writer.js';
import { Checkpoints } from './checkpoint/checkpoints.js';
import type { Left } from './comm/channel.js';
import type { CommLink } from './comm/comm-link.js';
import type { CommTimes } from './comm/comm-times.js';
import type { SharedPages } from './comm/shared-pages.js';
import { EarlyStopping } from './early-stopping.js';
import { Evaluation } from './evaluation.js';
import { Gradients } from './gradients.js';
import type { Inbox } from './inbox.js';
import { averageViews, type InitialState } from './initial-state.js';
import { leaveBehind } from './leave-behind.js';
import type { Prepared } from './preparation.js';
import { ProgressReport, tellerOf } from './progress-report.js';
import { enterRound, type Round } from './round.js';
import { StepTimes } from './step-times.js';
import type { StepRing } from '../src/flight/step-ring.js';

export interface TrainingOptions {
  readonly prepared: Prepared;
  readonly memory: FlatMemory;
  readonly initial: InitialState;
  readonly times: CommTimes;
  /** Gets each step, for the flight recorder. */
  readonly steps: StepRing;
  /** Null: peers' memory cannot be read. */
  readonly pages: SharedPages | null;
  readonly link: CommLink;
  readonly inbox: Inbox;
  readonly send: (message: FromWorker) => void;
  readonly log: Log;
}

export class Training {
  readonly #options: TrainingOptions;
  readonly #gradients: Gradients;
  readonly #evaluation: Evaluation | null;
  readonly #stopping: EarlyStopping | null;
  readonly #progress: ProgressReport;
  readonly #times: StepTimes;
  readonly #checkpoints: Checkpoints;
  #round: Round | null = null;
  #left: Left | null = null;
  /** Steps committed. */
  #numSteps = 0;
  /** After which it has read the state: what is due there was done before. */
  #readStep = -1;

  constructor(options: TrainingOptions) {
    const { prepared, memory, times, steps, send } = options;
    const { step, schedule, data, loaded, plan } = prepared;
    const { seed, microBatches, batchSize, onNotFinite } = loaded.job;
    this.#options = options;
    this.#times = new StepTimes(times, steps);
    this.#checkpoints = this.#makeCheckpoints();
    this.#progress = new ProgressReport(send, this.#times);
    const { sampler } = schedule;
    const { augment } = loaded.job.data;
    const augmentation = augment && { augmentation: new Augmentation({ augment, data: data.train, seed }) };
    const reading = { sampler, data: data.train, ...augmentation, seed };
    const batchRows = Math.max(1, Math.ceil(batchSize / plan.slots));
    const averages = averageViews(prepared, memory);
    this.#evaluation = data.validation
      ? new Evaluation({ step, data: data.validation, seed, numSlots: plan.slots, batchRows, averages })
      : null;
    this.#stopping = EarlyStopping.of(prepared, memory, this.#evaluation);
    this.#gradients = new Gradients({
      ...{ ...reading, step, memory, microBatches, onNotFinite },
      onSlot: (at, slot) => this.#stopping?.contribute(at, slot),
    });
  }

  /** The coordinator wants the run to stop. Between two generations that is for the next one, unless a halt comes first. */
  drain(): void {
    const round = this.#round;
    if (round && !round.words.isClosed) round.brake.drain();
    else this.#options.inbox.add({ type: 'drain' });
  }

  /** This worker is to end: its slots go to others, and the coordinator says goodbye. */
  leave(): void {
    this.#progress.leave();
    this.#options.send({ type: 'leaving', step: this.#numSteps });
  }

  /** A checkpoint in flight is finished. */
  async close(): Promise<void> {
    await this.#checkpoints.close();
  }

  /** No coordinator comes any more, and the state stays as it is. */
  orphan(left: Left): void {
    this.#left = left;
  }

  /**
   * This worker ends with an error. Where the run is orphaned, the first of those that are left writes its state down.
   *
   * @returns the error, with where the run can go on from
   */
  async leaveBehind(error: LockstepError): Promise<LockstepError> {
    if (!this.#left || error.code !== 'ERR_COORDINATOR_LOST') return error;
    const { prepared, memory } = this.#options;
    return leaveBehind(error, this.#left, { prepared, memory, checkpoints: this.#checkpoints });
  }

  /** Takes part until the coordinator says goodbye. */
  async run(): Promise<void> {
    const { inbox } = this.#options;
    for (;;) {
      const message = await inbox.next('enter', 'begin', 'goodbye');
      if (message.type === 'goodbye') return;
      if (message.type === 'enter') await this.#rest(message.entry);
      else {
        this.#round = enterRound(this.#options, message.begun);
        await this.#train(this.#round);
      }
    }
  }

  /** Before a generation: the comm thread may change the state, or it is read here. */
  async #rest({ generation, self, source }: Entry): Promise<void> {
    const { initial, inbox, link } = this.#options;
    // What rank 0 has not told yet nobody else may know: it goes out before its state does, which others can go on from.
    this.#progress.flush();
    const isRead = source.type === 'checkpoint';
    if (isRead) {
      await inbox.unlessFailed(initial.read(source.checkpoint, { generation, rank: self.rank }));
      this.#readStep = generation.step;
      this.#checkpoints.adopt(generation.step);
    }
    link.rest(generation.generation, isRead);
  }

  /** To the end of the schedule, to where the coordinator stops the run, or to the end of the generation. */
  async #train(round: Round): Promise<void> {
    const { schedule } = this.#options.prepared;
    this.#enter(round);
    // The generation before may have ended between a step and what is due after it.
    if (this.#hasTaken(this.#numSteps)) await this.#afterStep(round);
    else if (this.#isValidationMissing(round)) await this.#evaluate(round);
    const isOver = (): boolean =>
      this.#numSteps >= schedule.totalSteps || this.#stopping?.isOver(this.#numSteps) === true;
    while (!isOver() && (await round.brake.mayBegin(this.#numSteps))) {
      if (!(await this.#step(round))) return;
      await this.#afterStep(round);
    }
    await this.#checkpoint(round, 'finish');
    if (round.words.isClosed) return;
    this.#progress.flush();
    this.#options.send({ type: 'finished', step: this.#numSteps, weightsSha256: this.#weightsSha256() });
  }

  #enter({ begun: { generation, self, told }, brake }: Round): void {
    const { inbox } = this.#options;
    inbox.drop(['halted']);
    if (inbox.drop(['drain'])) brake.drain();
    this.#numSteps = generation.step;
    this.#gradients.enter(self);
    // With a peer's state comes the record of its last step, maybe for a generation that was halted before it began.
    if (this.#hasTaken(generation.step)) this.#progress.add(this.#record());
    this.#progress.enter(generation.step, { isTeller: tellerOf(generation) === self.rank, told });
  }

  /** Whether the state is that of so many steps by taking the last of them, here or in a peer, and not as it was read. */
  #hasTaken(numSteps: number): boolean {
    return numSteps > this.#options.prepared.firstStep && numSteps !== this.#readStep;
  }

  /** Whoever was to tell its part of it has died, and the state that others go on from was read. */
  #isValidationMissing({ begun }: Round): boolean {
    return this.#numSteps > begun.validated && this.#options.prepared.schedule.endsEpoch(this.#numSteps);
  }

  /** Whether the step was committed; not where the generation ends before. */
  async #step({ begun: { generation, self }, commit, readiness, faults, words }: Round): Promise<boolean> {
    const { inbox, link, prepared } = this.#options;
    const step = this.#numSteps;
    const validated = this.#stopping?.begin(step, self, () => words.isClosed) ?? true;
    if (validated !== true && !(await inbox.unlessFailed(validated))) return false;
    const begun = performance.now();
    readiness.begin(step);
    const batches = this.#gradients.rows.inHand(step) ?? (await inbox.unlessFailed(this.#gradients.rows.read(step)));
    const read = performance.now();
    this.#gradients.compute(step, batches, readiness);
    const computed = performance.now();
    if (step + 1 < prepared.schedule.totalSteps && !readiness.isOver) this.#gradients.rows.prefetch(step + 1);
    if (!(await commit(step, () => this.#gradients.rows.inHand(step + 1) !== null))) return false;
    this.#times.add({ step, generation: generation.generation }, begun, read, computed, performance.now());
    this.#numSteps = step + 1;
    this.#progress.add(this.#record());
    for (const fault of faults.after(this.#numSteps)) await inbox.unlessFailed(link.inject(fault, this.#numSteps));
    return true;
  }

  /** Of the last step, whose loss and metrics are part of the state. */
  #record(): { step: number; loss: number; metrics: number[] } {
    const { memory, prepared } = this.#options;
    const { segment, offset } = memory.layout.scalars;
    const numMeasures = 1 + prepared.step.metricNames.length;
    const [loss = NaN, ...metrics] = memory.view(PARAMETERS, segment).subarray(offset, offset + numMeasures);
    return { step: this.#numSteps, loss, metrics };
  }

  async #afterStep(round: Round): Promise<void> {
    const { prepared, memory, send } = this.#options;
    const { schedule, loaded } = prepared;
    const { verifyEverySteps, optimizer } = loaded.job;
    if (verifyEverySteps > 0 && this.#numSteps % verifyEverySteps === 0) {
      send({ type: 'state-hash', step: this.#numSteps, hash: stateHash(memory, optimizer) });
    }
    if (schedule.endsEpoch(this.#numSteps)) await this.#evaluate(round);
    if (this.#numSteps === schedule.totalSteps) return; // that of the last step follows it
    const isWanted = schedule.wantsCheckpoint(this.#numSteps) || this.#checkpoints.isDue;
    if (isWanted) await this.#checkpoint(round, 'take');
  }

  async #evaluate({ begun: { self }, words }: Round): Promise<void> {
    const { inbox, send } = this.#options;
    if (!this.#evaluation) return;
    const evaluating = this.#evaluation.of(self, this.#numSteps, () => words.isClosed);
    const slots = await inbox.unlessFailed(evaluating);
    if (!slots) return;
    this.#progress.flush();
    send({ type: 'evaluated', step: this.#numSteps, slots: [...slots] });
  }

  /** Rank 0 writes, and decides alone when: the others wait for its partials. */
  async #checkpoint({ begun: { self }, words, sharding }: Round, how: 'take' | 'finish'): Promise<void> {
    if (self.rank !== 0 || words.isClosed) return;
    const { prepared, inbox } = this.#options;
    const between = { sharding, untilEnded: () => words.committed(this.#numSteps) };
    const writing = this.#checkpoints[how](checkpointFacts(prepared, this.#options.memory, this.#numSteps), between);
    await inbox.unlessFailed(writing).catch((error: unknown) => {
      // Moments of a sharded optimizer cannot be gathered from workers that are gone.
      if (!sharding || !words.isClosed) throw error;
    });
  }

  #makeCheckpoints(): Checkpoints {
    const { prepared, memory, link, send, inbox, log } = this.#options;
    const { loaded } = prepared;
    return new Checkpoints({
      folder: checkpointsOf(prepared),
      keep: loaded.job.checkpointsKept,
      memory,
      everySeconds: loaded.job.checkpointEverySeconds ?? null,
      files: prepared.files,
      startWriter: (to) => startAsideWriter(to, prepared.files.isHere ? null : link.openFiles()),
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
    });
  }

  #weightsSha256(): string {
    const hash = createHash('sha256');
    weightsDigest(this.#options.memory.layout, this.#options.memory, hash);
    return hash.digest('hex');
  }
}
