/**
 * This worker's part in the run's generations, in the comm thread: carries out what the participant machine decides, on the
 * links of the one that it is in. A halt is answered here, whatever the compute thread does.
 */
import type { WorkerFault } from '../../src/chaos/faults.js';
import type { LockstepError } from '../../src/errors.js';
import { assert, toLockstepError } from '../../src/errors.js';
import {
  outside,
  participant,
  type Entry,
  type ParticipantEffect,
  type ParticipantEvent,
} from '../../src/membership/participant.js';
import type { MomentRegion } from '../../src/optimizer/optimizer.js';
import type { Limits } from '../../src/protocol/limits.js';
import type { FromCoordinator, FromWorker, Generation, Standing } from '../../src/protocol/messages.js';
import { FlatMemory } from '../../src/state/memory.js';
import { requireNative } from '../compute/engine/native-build.js';
import { StepRing } from '../../src/flight/step-ring.js';
import { clockMs, type FlightRecorder } from '../flight/flight-recorder.js';
import { paceOf } from '../flight/pace.js';
import type { Impediment } from '../../transport/impediment.js';
import type { Begun, FromComm, Left, RunSetup } from './channel.js';
import { GenerationRun } from './generation-run.js';
import type { PeerListener } from './peer-listener.js';
import type { SharedPages } from './shared-pages.js';

export interface ParticipationOptions {
  readonly workerId: string;
  readonly token: string | null;
  readonly limits: Limits;
  readonly listener: PeerListener;
  readonly pages: SharedPages | null;
  readonly flight: FlightRecorder;
  readonly impediment: Impediment;
  /** To the coordinator. */
  readonly send: (message: FromWorker) => void;
  /** There is no coordinator at present: whatever fails in a generation waits for one to decide. */
  readonly isAlone: () => boolean;
  /** To the compute thread. */
  readonly post: (message: FromComm) => void;
  readonly report: (error: LockstepError) => void;
  /** Called again and again in long work: the coordinator is to hear that this worker lives. */
  readonly pulse: () => void;
}

export const ofGenerations = ['halt', 'generation', 'faults', 'start'] as const;
export type OfGenerations = Extract<FromCoordinator, { type: (typeof ofGenerations)[number] }>;

export class Participation {
  readonly #options: ParticipationOptions;
  #setup: RunSetup | null = null;
  #memory: FlatMemory | null = null;
  #steps: StepRing | null = null;
  #state = outside;
  #run: GenerationRun | null = null;
  /** Those that are to come in this generation, where the run has --chaos. */
  #faults: readonly WorkerFault[] = [];
  /** The last one that was entered. */
  #entered: Generation | null = null;
  #isDraining = false;
  /** Nobody leads it any more. */
  #isOver = false;
  /** What the coordinator had when the generation began. */
  #known: Pick<Begun, 'told' | 'validated'> = { told: 0, validated: 0 };
  /** Why it does not train yet. */
  #reason: string | null = null;
  /** Wakes this thread from inside of a step; made once. */
  #waker: number | null = null;

  constructor(options: ParticipationOptions) {
    this.#options = options;
  }

  /** What this run needs; before the first generation. */
  prepare(setup: RunSetup): void {
    this.#setup = setup;
    this.#memory = FlatMemory.attach(setup.memory);
    this.#steps = new StepRing(setup.steps);
    this.#options.flight.recordSteps(this.#steps);
  }

  onMessage(message: OfGenerations): void {
    if (message.type === 'faults') {
      this.#faults = message.faults;
      return;
    }
    const text = message.type === 'halt' ? (this.#waiting ?? 'nothing is waited for') : 'the coordinator says so';
    this.#options.flight.note(message.type, text, message.generation);
    if (message.type === 'start') {
      const { told, validated } = message;
      this.#known = { told, validated };
    } else {
      this.#faults = [];
      this.#stop(message.generation);
    }
    if (message.type !== 'generation') this.#take(message);
    else {
      const { type, ...generation } = message;
      this.#take({ type, generation });
    }
  }

  /** The compute thread has come to rest before a generation. */
  onResting(generation: number, filled: boolean): void {
    this.#take({ type: 'resting', generation, filled });
  }

  /** What a heartbeat tells. */
  get vitals(): Omit<Extract<FromWorker, { type: 'heartbeat' }>, 'type'> {
    const run = this.#run;
    const isTraining = this.#state.phase === 'training';
    return {
      step: run?.step ?? this.#state.step ?? 0,
      waiting: this.#waiting,
      stage: isTraining && run ? run.stage : null,
      pace: isTraining && this.#entered && this.#steps ? paceOf(this.#steps, this.#entered, clockMs()) : null,
    };
  }

  get #waiting(): string | null {
    return this.#state.phase === 'training' && this.#run ? this.#run.waiting : this.#reason;
  }

  /** Of the generation that it is in; the next one is told anew. */
  onDrain(): void {
    this.#isDraining = true;
  }

  /** What a coordinator that is back has to know. */
  get standing(): Pick<Standing, 'generation' | 'entered' | 'workers' | 'step' | 'isTraining'> {
    const { generation, phase } = this.#state;
    return {
      generation,
      entered: this.#entered?.generation ?? 0,
      workers: this.#entered?.workers ?? [],
      step: this.vitals.step,
      isTraining: phase === 'training' && !this.#isDraining,
    };
  }

  async gatherMoments(region: MomentRegion, bucket: number): Promise<void> {
    const whole = (await this.#run?.gatherMoments(region, bucket)) ?? false;
    this.#options.post({ type: 'gathered', whole });
  }

  /** No coordinator comes any more: what this worker has committed stays as it is from now on. Null: it holds no whole state. */
  abandon(): Left | null {
    this.#run?.freeze();
    if (this.#run && this.#state.phase === 'training') this.#take({ type: 'committed', step: this.#run.step });
    this.#isOver = true;
    const { step } = this.#state;
    return step === null ? null : { step, isFirst: this.#run?.isFirst ?? true };
  }

  /** The coordinator needs this worker no more, which may be in a step, or wait for all to agree where the run ends: neither comes. */
  dismiss(): void {
    this.close();
    this.#options.post({ type: 'halted', generation: this.#state.generation });
  }

  close(): void {
    this.#run?.close();
  }

  #take(event: ParticipantEvent): void {
    if (this.#isOver) return;
    const config = { workerId: this.#options.workerId, holdsAll: this.#setup?.optimizer.sharded !== true };
    const { state, effects, reason } = participant(config, this.#state, event);
    this.#state = state;
    if (reason !== null && reason !== this.#reason) {
      this.#options.post({ type: 'log', level: 'debug', message: reason, fields: {} });
    }
    this.#reason = reason;
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: ParticipantEffect): void {
    const { send, post } = this.#options;
    switch (effect.type) {
      case 'leave':
        this.#leave();
        break;
      case 'halted':
        this.#isDraining = false;
        post({ type: 'halted', generation: effect.generation });
        this.#noteHalt(effect.step, effect.generation);
        send(effect);
        this.#options.flight.write(); // when the coordinator has its answer
        break;
      case 'enter':
        this.#enter(effect.entry);
        break;
      case 'fetch':
        this.#guard(effect.generation, async (run) => {
          await run.fetch(effect.ranks);
          this.#options.flight.note('healed', `from rank ${effect.ranks.join(', ')}`, effect.generation);
          this.#take({ type: 'fetched', generation: effect.generation });
        });
        break;
      case 'connected':
        this.#options.flight.note('connected', 'to all peers, with the state', effect.generation);
        send({ ...effect, prefersMemory: this.#run?.prefersMemory === true });
        break;
      case 'begin':
        this.#begin(effect.inMemory);
        break;
    }
  }

  #enter(entry: Entry): void {
    const { token, limits, listener, pages, impediment, flight, isAlone, post, report, pulse } = this.#options;
    assert(this.#setup && this.#memory, 'a generation is entered when the run is prepared');
    const { generation } = entry.generation;
    const { hostId } = listener.addresses;
    const onCommit = (step: number): void => {
      this.#take({ type: 'committed', step });
    };
    const onSkipped = (message: string): void => {
      post({ type: 'log', level: 'warn', message, fields: {} });
    };
    const own = { setup: this.#setup, memory: this.#memory, entry, onSkipped };
    this.#entered = entry.generation;
    const links = { token, limits, hostId, pages, impediment, flight };
    this.#run = new GenerationRun({ ...own, ...links, isAlone, onCommit, report, pulse });
    flight.enter(generation);
    post({ type: 'enter', entry });
    listener.deliverTo(this.#run);
    this.#guard(generation, async (run) => {
      await run.connect();
      this.#take({ type: 'linked', generation });
    });
  }

  /** What the compute thread commits by itself counts up to a later generation, and no further. */
  #stop(generation: number): void {
    if (!this.#run || generation <= this.#run.generation) return;
    this.#run.close();
    if (this.#state.phase === 'training') this.#take({ type: 'committed', step: this.#run.step });
  }

  #begin(inMemory: boolean): void {
    const { entry } = this.#state;
    assert(entry && this.#run && this.#setup, 'steps begin in a generation that was entered');
    const { generation, self } = entry;
    this.#waker ??= this.#makeWaker(this.#setup.stepAddonPath);
    this.#run.begin(inMemory);
    const { words } = this.#run;
    const told = { ...this.#known, faults: this.#faults };
    const begun = { generation, self, words, waker: this.#waker, inMemory, ...told };
    this.#options.post({ type: 'begin', begun });
  }

  /** Before it is said: what comes of it is later. */
  #noteHalt(step: number | null, generation: number): void {
    const text = step === null ? 'without a state' : `with the state of step ${step}`;
    this.#options.flight.note('halted', text, generation);
  }

  #leave(): void {
    this.#options.listener.holdBack();
    this.#run?.close();
    this.#run = null;
  }

  /** What fails in a generation that is over is of no interest. */
  #guard(generation: number, action: (run: GenerationRun) => Promise<void>): void {
    const run = this.#run;
    assert(run, `generation ${generation} is not entered`);
    action(run).catch((error: unknown) => {
      this.#reportUnlessHalted(run, toLockstepError(error));
    });
  }

  /**
   * Without a coordinator a generation that cannot be entered is no end: the next one to come begins the moves anew, for which it
   * has some time.
   */
  #reportUnlessHalted(run: GenerationRun, error: LockstepError): void {
    if (this.#run !== run) return;
    const { isAlone, limits, post, report } = this.#options;
    if (!isAlone()) {
      report(error);
      return;
    }
    post({ type: 'log', level: 'warn', message: `without a coordinator: ${error.message}`, fields: {} });
    setTimeout(() => {
      this.#reportUnlessHalted(run, error);
    }, 2 * limits.returnTimeoutMs).unref();
  }

  /** TensorFlow is in this process already where steps run through the addon; 0: they do not. */
  #makeWaker(stepAddonPath: string | null): number {
    if (stepAddonPath === null) return 0;
    const native = requireNative(stepAddonPath);
    return 'addon' in native ? native.addon.createWaker(() => this.#run?.wake()) : 0;
  }
}
