/**
 * The compute thread of a simulated worker: what worker/training.ts does, as a coroutine. It is busy while it computes, hears
 * nothing then, and may hang; else it waits until something wakes it.
 */
import { toLockstepError, type LockstepError } from '../../../src/errors.js';
import type { Entry } from '../../../src/membership/participant.js';
import { makeSharedSteps, StepRing } from '../../../src/flight/step-ring.js';
import type { FromWorker, SlotEvaluation } from '../../../src/protocol/messages.js';
import { ProgressReport, tellerOf } from '../../../worker/progress-report.js';
import { makeCommTimes } from '../../../worker/comm/comm-times.js';
import { StepTimes } from '../../../worker/step-times.js';
import type { Begun, ToCompute } from './comm-thread.js';
import { hashOf, lossOf, type State } from './job.js';
import { slotsOf, type Memory } from './memory.js';
import type { Process } from './process.js';
import type { World } from './world.js';

/** What the coroutine says when it gives way. */
type Pause = 'busy' | 'waiting';
type Work<T> = Generator<Pause, T, undefined>;
type Message<T extends ToCompute['type']> = Extract<ToCompute, { type: T }>;

export interface ComputeThreadOptions {
  readonly world: World;
  readonly process: Process;
  readonly memory: Memory;
  /** To the comm thread, which is told after a while. */
  readonly send: (message: FromWorker) => void;
  readonly rest: (generation: number, filled: boolean) => void;
  readonly ready: () => void;
  /** Those of a sharded optimizer; null: the generation ends before all are here. */
  readonly gatherMoments: (onEnd: (moments: Float32Array | null) => void) => void;
  /** Its part is over; with an error of its own, it has failed. */
  readonly onEnd: (error: LockstepError | null) => void;
}

/** A halt makes them void, those that nobody has read yet. */
const ofOneGeneration: readonly ToCompute['type'][] = ['halted', 'enter', 'begin', 'drain', 'stop-after'];

export class ComputeThread {
  readonly #options: ComputeThreadOptions;
  readonly #work: Work<void>;
  readonly #progress: ProgressReport;
  #mail: ToCompute[] = [];
  #unread: ToCompute[] = [];
  #isBusy = false;
  #isHung = false;
  #hasEnded = false;
  #begun: Begun | null = null;
  /** Steps committed. */
  #numSteps = 0;
  #readStep = -1;
  readonly #brake = { isDraining: false, numBegun: 0, stopAfter: null as number | null };
  #evaluations = { step: -1, results: new Map<number, SlotEvaluation>() };
  readonly #checkpoints = { lastStep: -1, isInFlight: false };

  constructor(options: ComputeThreadOptions) {
    const { world, send } = options;
    this.#options = options;
    this.#progress = new ProgressReport(
      send,
      new StepTimes(makeCommTimes(), new StepRing(makeSharedSteps())),
      () => world.clock.nowMs,
    );
    this.#work = this.#run();
  }

  post(message: ToCompute): void {
    this.#mail.push(message);
    this.wake();
  }

  wake(): void {
    if (this.#isBusy || this.#isHung || this.#hasEnded) return;
    const mail = this.#mail;
    this.#mail = [];
    for (const message of mail) this.#hear(message);
    if (!this.#isOver()) this.#resume();
  }

  /** It beats no more, in what it does now. */
  hang(): void {
    this.#isHung = true;
  }

  goOn(): void {
    this.#isHung = false;
    this.wake();
  }

  leave(): void {
    this.#progress.leave();
    this.#options.send({ type: 'leaving', step: this.#numSteps });
  }

  #isOver(): boolean {
    return this.#hasEnded;
  }

  #hear(message: ToCompute): void {
    const failure = message.type === 'failed' ? message.error : null;
    if (message.type === 'abort') this.#end(null);
    else if (failure) this.#end(failure);
    else if (message.type === 'drain' && this.#begun && !this.#begun.words.isClosed) this.#drain();
    else {
      if (message.type === 'halted') this.#drop(ofOneGeneration);
      this.#unread.push(message);
    }
  }

  #end(error: LockstepError | null): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#options.onEnd(error);
  }

  #resume(): void {
    try {
      const { done, value } = this.#work.next();
      if (done === true) this.#end(null);
      else this.#isBusy = value === 'busy';
    } catch (thrown) {
      if (!(thrown instanceof Error) || !('code' in thrown)) throw thrown;
      this.#end(toLockstepError(thrown));
    }
  }

  *#next<T extends ToCompute['type']>(...types: readonly T[]): Work<Message<T>> {
    for (;;) {
      const index = this.#unread.findIndex(({ type }) => types.some((wanted) => wanted === type));
      if (index >= 0) return this.#unread.splice(index, 1)[0] as Message<T>; // found by its type
      yield 'waiting';
    }
  }

  #drop(types: readonly ToCompute['type'][]): boolean {
    const numBefore = this.#unread.length;
    this.#unread = this.#unread.filter(({ type }) => !types.includes(type));
    return this.#unread.length < numBefore;
  }

  /** What blocks this thread. */
  *#busy(ms: number): Work<void> {
    this.#options.process.after(ms, () => {
      this.#isBusy = false;
      this.wake();
    });
    yield 'busy';
  }

  /** What it waits for while it hears. */
  *#elapse(ms: number): Work<void> {
    const elapsed = { isOver: false };
    this.#options.process.after(ms, () => {
      elapsed.isOver = true;
      this.wake();
    });
    while (!elapsed.isOver) yield 'waiting';
  }

  *#run(): Work<void> {
    const { world, send, process } = this.#options;
    yield* this.#next('welcome');
    yield* this.#elapse(world.random.between(20, 200));
    const addresses = { hostId: world.hostOf(process.place), unixPath: null, tcp: [process.name] };
    const shape = { trainRows: 0, validationRows: null, metricNames: [], engine: '', compiled: false };
    send({ type: 'ready', facts: {}, device: '', addresses, ...shape });
    for (;;) {
      const message = yield* this.#next('enter', 'begin', 'goodbye');
      if (message.type === 'goodbye') return;
      if (message.type === 'enter') yield* this.#rest(message.entry);
      else yield* this.#train(message.begun);
    }
  }

  *#rest({ generation, source }: Entry): Work<void> {
    const { world, memory, rest } = this.#options;
    this.#progress.flush();
    const isRead = source.type === 'checkpoint';
    if (isRead) {
      yield* this.#elapse(world.random.between(1, 10));
      memory.read(source.checkpoint === null ? world.job.stateAfter(0) : world.disk.read(source.checkpoint));
      this.#readStep = generation.step;
      this.#checkpoints.lastStep = generation.step;
    }
    rest(generation.generation, isRead);
  }

  *#train(begun: Begun): Work<void> {
    const { world, memory, send } = this.#options;
    const { totalSteps } = world.job.schedule;
    this.#enter(begun);
    const { words } = begun;
    if (this.#hasTaken()) yield* this.#afterStep(begun);
    else if (this.#isValidationMissing(begun)) yield* this.#evaluate(begun);
    while (this.#numSteps < totalSteps && (yield* this.#mayBegin())) {
      if (!(yield* this.#step(begun))) return;
      yield* this.#afterStep(begun);
    }
    yield* this.#finalCheckpoint(begun);
    if (words.isClosed) return;
    this.#progress.flush();
    send({ type: 'finished', step: this.#numSteps, weightsSha256: hashOf(memory.state.parameters) });
  }

  #enter(begun: Begun): void {
    const { generation, self, told } = begun;
    this.#begun = begun;
    this.#brake.isDraining = false;
    this.#brake.stopAfter = null;
    this.#brake.numBegun = generation.step;
    this.#drop(['halted']);
    if (this.#drop(['drain'])) this.#drain();
    this.#numSteps = generation.step;
    if (this.#hasTaken()) this.#progress.add(this.#record());
    this.#progress.enter(generation.step, { isTeller: tellerOf(generation) === self.rank, told });
  }

  #hasTaken(): boolean {
    return this.#numSteps > 0 && this.#numSteps !== this.#readStep;
  }

  #isValidationMissing({ validated }: Begun): boolean {
    return this.#numSteps > validated && this.#options.world.job.schedule.endsEpoch(this.#numSteps);
  }

  #drain(): void {
    if (this.#brake.isDraining) return;
    this.#brake.isDraining = true;
    this.#options.send({ type: 'draining', step: this.#brake.numBegun });
  }

  *#mayBegin(): Work<boolean> {
    const brake = this.#brake;
    if (brake.isDraining) {
      if (brake.stopAfter === null) {
        const answer = yield* this.#next('stop-after', 'halted');
        if (answer.type === 'halted') return false;
        brake.stopAfter = answer.step;
      }
      if (this.#numSteps >= brake.stopAfter) return false;
    }
    brake.numBegun = this.#numSteps + 1;
    return true;
  }

  *#step({ self, words }: Begun): Work<boolean> {
    const { world, memory, ready } = this.#options;
    const step = this.#numSteps;
    words.numBegun = step + 1;
    yield* this.#elapse(world.random.between(0, 1));
    for (const slot of world.parts.slotsToCompute(memory.kept, step, self)) {
      if (words.isClosed) break;
      yield* this.#busy(world.random.between(1, 15));
      memory.compute(world.job, step, slot);
    }
    if (!words.isClosed) words.numReady.fill(step + 1);
    ready();
    while (words.numCommitted <= step && !words.isClosed) yield 'waiting';
    if (words.numCommitted <= step) return false;
    this.#numSteps = step + 1;
    this.#progress.add(this.#record());
    return true;
  }

  #record(): { step: number; loss: number; metrics: number[] } {
    return { step: this.#numSteps, loss: lossOf(this.#options.memory.state.parameters), metrics: [] };
  }

  *#afterStep(begun: Begun): Work<void> {
    const { schedule } = this.#options.world.job;
    if (schedule.endsEpoch(this.#numSteps)) yield* this.#evaluate(begun);
    if (this.#numSteps === schedule.totalSteps) return;
    if (schedule.wantsCheckpoint(this.#numSteps)) yield* this.#takeCheckpoint(begun);
  }

  *#evaluate({ self, words }: Begun): Work<void> {
    const { world, memory, send } = this.#options;
    const step = this.#numSteps;
    if (this.#evaluations.step !== step) this.#evaluations = { step, results: new Map() };
    const { results } = this.#evaluations;
    for (const slot of slotsOf(self)) {
      if (words.isClosed) return;
      if (results.has(slot)) continue;
      yield* this.#busy(world.random.between(1, 5));
      results.set(slot, world.job.evaluation(slot, memory.state.parameters));
    }
    this.#progress.flush();
    send({ type: 'evaluated', step, slots: slotsOf(self).flatMap((slot) => results.get(slot) ?? []) });
  }

  /** From a copy, aside. */
  *#takeCheckpoint({ self, words, isShared }: Begun): Work<void> {
    if (self.rank !== 0 || words.isClosed || this.#checkpoints.lastStep === this.#numSteps) return;
    if (!(yield* this.#settled(words))) return;
    if (isShared) yield* this.#writeStraight(this.#numSteps, isShared);
    else this.#write(this.#numSteps, this.#options.memory.copy());
  }

  *#finalCheckpoint({ self, words, isShared }: Begun): Work<void> {
    if (self.rank !== 0 || words.isClosed || !(yield* this.#settled(words))) return;
    if (this.#checkpoints.lastStep === this.#numSteps) return;
    yield* this.#writeStraight(this.#numSteps, isShared);
  }

  *#settled(words: Begun['words']): Work<boolean> {
    while (this.#checkpoints.isInFlight && !words.isClosed) yield 'waiting';
    return !this.#checkpoints.isInFlight;
  }

  /** While all wait, with moments from whoever holds them. */
  *#writeStraight(step: number, isShared: boolean): Work<void> {
    const { parameters, moments } = this.#options.memory.copy();
    const { gathersMoments } = this.#options.world.parts;
    const gathered = isShared && gathersMoments ? yield* this.#gatherMoments() : moments;
    if (!gathered) return;
    this.#write(step, { parameters, moments: gathered });
    while (this.#checkpoints.isInFlight) yield 'waiting';
  }

  *#gatherMoments(): Work<Float32Array | null> {
    const answer: { moments?: Float32Array | null } = {};
    this.#options.gatherMoments((moments) => {
      answer.moments = moments;
      this.wake();
    });
    while (answer.moments === undefined) yield 'waiting';
    return answer.moments;
  }

  #write(step: number, state: State): void {
    const { world, process, send } = this.#options;
    this.#checkpoints.lastStep = step;
    this.#checkpoints.isInFlight = true;
    world.disk.write(process, step, state, (path) => {
      this.#checkpoints.isInFlight = false;
      this.#progress.flush();
      if (path !== null) send({ type: 'checkpointed', step, path });
      this.wake();
    });
  }
}
