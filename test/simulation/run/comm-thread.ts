/**
 * The comm thread of a simulated worker: the participant machine on virtual links. What worker/comm/participation.ts and
 * comm-thread.ts do.
 */
import { toLockstepError, type LockstepError } from '../../../src/errors.js';
import {
  outside,
  type Entry,
  type ParticipantEffect,
  type ParticipantEvent,
} from '../../../src/membership/participant.js';
import {
  toFailure,
  type FromCoordinator,
  type FromWorker,
  type Generation,
  type RosterEntry,
  type Standing,
} from '../../../src/protocol/messages.js';
import { CoordinatorLink } from './coordinator-link.js';
import { GenerationRun } from './generation-run.js';
import type { Memory } from './memory.js';
import type { End } from './network.js';
import type { PeerMessage } from './peer-links.js';
import type { Process } from './process.js';
import { Violation } from './violation.js';
import type { Place } from './terms.js';
import type { Words } from './words.js';
import type { World } from './world.js';

/** What the compute thread hears. */
export type ToCompute =
  | FromCoordinator
  | { readonly type: 'halted'; readonly generation: number }
  | { readonly type: 'enter'; readonly entry: Entry }
  | { readonly type: 'begin'; readonly begun: Begun }
  | { readonly type: 'failed'; readonly error: LockstepError };

export interface Begun {
  readonly generation: Generation;
  readonly self: RosterEntry;
  readonly words: Words;
  /** What the coordinator had. */
  readonly told: number;
  readonly validated: number;
  /** Moments are shared out. */
  readonly isShared: boolean;
}

export interface CommThreadOptions {
  readonly world: World;
  readonly process: Process;
  readonly workerId: string;
  readonly memory: Memory;
  readonly post: (message: ToCompute) => void;
  /** What it waits for in shared memory may have come. */
  readonly wake: () => void;
}

/** From one thread of a worker to the other. */
export const threadMs = 0.05;

export class CommThread {
  readonly #options: CommThreadOptions;
  readonly #coordinator: CoordinatorLink;
  #state = outside;
  #run: GenerationRun | null = null;
  /** The last generation that was entered. */
  #entered: Generation | null = null;
  #enteredPlace: Place | null = null;
  #isDraining = false;
  #reason: string | null = null;
  #known = { told: 0, validated: 0 };
  /** Peers that came while this worker was in no generation. */
  #waiting: End<PeerMessage>[] = [];

  constructor(options: CommThreadOptions) {
    this.#options = options;
    const { world, process } = options;
    world.listeners.set(process.name, {
      process,
      onConnection: (end) => {
        if (this.#run) this.#run.accept(end);
        else this.#waiting.push(end);
      },
    });
    const { workerId } = options;
    const who = { workerId, host: `host ${process.place}`, pid: 1, lockstepVersion: '' };
    this.#coordinator = new CoordinatorLink({
      world,
      process,
      address: world.command.address,
      hello: { type: 'hello', ...who, standing: null },
      standing: () => this.#standing,
      onMessage: (message) => {
        this.#onSaid(message);
      },
      onFailure: (error) => {
        options.post({ type: 'failed', error });
      },
    });
  }

  send(message: FromWorker): void {
    this.#coordinator.send(message);
  }

  onResting(generation: number, filled: boolean): void {
    this.#take({ type: 'resting', generation, filled });
  }

  onReady(): void {
    this.#run?.takeReady();
  }

  /** Of a generation that is over none are told. */
  gatherMoments(onEnd: (moments: Float32Array | null) => void): void {
    if (this.#run) this.#run.gatherMoments(onEnd);
    else onEnd(null);
  }

  /** What is under way is lost, but not what was said. */
  fail(error: LockstepError): void {
    this.send({ type: 'failed', failure: toFailure(error, null) });
  }

  get #standing(): Pick<Standing, 'generation' | 'entered' | 'workers' | 'step' | 'isTraining'> {
    const { generation, phase } = this.#state;
    return {
      generation,
      entered: this.#entered?.generation ?? 0,
      workers: this.#entered?.workers ?? [],
      step: this.#step,
      isTraining: phase === 'training' && !this.#isDraining,
    };
  }

  /** A generation that comes now. */
  #place(generation: number): Place {
    return { coordinator: this.#coordinator.plan?.runDirMark ?? '', generation };
  }

  get #step(): number {
    return this.#run?.step ?? this.#state.step ?? 0;
  }

  #onSaid(message: FromCoordinator): void {
    const { world, process, post, workerId } = this.#options;
    world.trace(() => `${workerId} hears ${describe(message)}`);
    switch (message.type) {
      case 'halt':
      case 'start':
        if (message.type === 'halt') world.invariants.onHeard(process.name, message.generation);
        else this.#known = { told: message.told, validated: message.validated };
        this.#take(message);
        return;
      case 'generation': {
        const { type, ...generation } = message;
        world.invariants.onHeard(process.name, generation.generation);
        this.#take({ type, generation });
        return;
      }
      case 'welcome':
        this.#beat(message.plan.heartbeatMs);
        break;
      case 'drain':
        this.#isDraining = true;
        break;
      case 'goodbye':
        this.#run?.close();
        post({ type: 'halted', generation: this.#state.generation });
        break;
      default:
    }
    post(message);
  }

  #beat(intervalMs: number): void {
    this.#options.process.after(intervalMs, () => {
      const run = this.#run;
      const isTraining = this.#state.phase === 'training';
      this.send({
        type: 'heartbeat',
        step: this.#step,
        waiting: isTraining && run ? run.waiting : this.#reason,
        stage: isTraining && run ? run.words.stage : null,
        pace: null,
      });
      this.#coordinator.noticeSilence();
      this.#beat(intervalMs);
    });
  }

  #take(event: ParticipantEvent): void {
    const { world, workerId } = this.#options;
    const config = { workerId, holdsAll: !world.setting.isSharded };
    const { state, effects, reason } = world.parts.participant(config, this.#state, event);
    this.#state = state;
    this.#reason = reason;
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: ParticipantEffect): void {
    const { post } = this.#options;
    switch (effect.type) {
      case 'leave':
        this.#run?.close();
        this.#run = null;
        this.#options.wake();
        break;
      case 'halted':
        this.#isDraining = false;
        post({ type: 'halted', generation: effect.generation });
        this.send(effect);
        break;
      case 'enter':
        this.#enter(effect.entry);
        break;
      case 'fetch':
        this.#run?.fetch(effect.ranks);
        break;
      case 'connected':
        this.send({ ...effect, prefersMemory: false });
        break;
      case 'begin':
        this.#begin();
    }
  }

  #enter(entry: Entry): void {
    const { world, process, memory, post, wake } = this.#options;
    const { generation } = entry.generation;
    const place = this.#place(generation);
    const run = new GenerationRun({
      world,
      process,
      memory,
      entry,
      onLinked: () => {
        this.#take({ type: 'linked', generation });
      },
      onFetched: () => {
        this.#take({ type: 'fetched', generation });
      },
      onCommit: (step) => {
        this.#take({ type: 'committed', step });
        world.invariants.onCommit(process.name, place, step, { ...memory.state, owned: run.owned });
        wake();
      },
      isAlone: () => this.#coordinator.isAway,
      onUnlinked: (error) => {
        this.#failUnlessHalted(run, error);
      },
      onFailure: (error) => {
        if (this.#run === run) post({ type: 'failed', error });
        wake();
      },
    });
    this.#run = run;
    this.#entered = entry.generation;
    this.#enteredPlace = place;
    world.invariants.terms.onEntered(process.name, place);
    post({ type: 'enter', entry });
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const end of waiting) if (end.isOpen) run.accept(end);
    this.#guard(() => {
      run.connect();
    });
  }

  #begin(): void {
    const { entry } = this.#state;
    if (!entry || !this.#run) throw new Error('Steps begin in a generation that was entered.');
    const { generation, self } = entry;
    const { world, process, memory, post } = this.#options;
    this.#run.begin();
    if (this.#enteredPlace) {
      const held = { ...memory.state, owned: this.#run.owned };
      world.invariants.onBegin(process.name, this.#enteredPlace, generation.step, held);
    }
    post({
      type: 'begin',
      begun: { generation, self, words: this.#run.words, ...this.#known, isShared: this.#run.owned !== null },
    });
  }

  #guard(action: () => void): void {
    try {
      action();
    } catch (thrown) {
      if (thrown instanceof Violation) throw thrown;
      this.#options.post({ type: 'failed', error: toLockstepError(thrown) });
    }
  }

  /** A coordinator that comes begins the moves anew, for which it has some time. */
  #failUnlessHalted(run: GenerationRun, error: LockstepError): void {
    if (this.#run !== run) return;
    const { process, post, world } = this.#options;
    if (!this.#coordinator.isAway) {
      post({ type: 'failed', error });
      return;
    }
    process.after(2 * world.patience.returnTimeoutMs, () => {
      this.#failUnlessHalted(run, error);
    });
  }
}

function describe(message: FromCoordinator): string {
  if (message.type !== 'generation')
    return JSON.stringify(message, (key, value: unknown) => (key === 'plan' ? '' : value));
  const roster = message.workers.map(({ workerId, firstSlot, endSlot, step }) => {
    return `${workerId} [${firstSlot}, ${endSlot}) has ${step ?? 'nothing'}`;
  });
  return `generation ${message.generation} from step ${message.step}, ${message.resumeFrom ?? 'no checkpoint'}: ${roster.join('; ')}`;
}
