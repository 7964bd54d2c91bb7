/**
 * A simulated coordinator: the membership machine on virtual connections, with its journal and its record. What
 * coordinator/coordinator.ts does. It may die between any two things that it does.
 */
import { isErrorCode, LockstepError } from '../../../src/errors.js';
import type { FromWorker } from '../../../src/protocol/messages.js';
import type { Charge } from '../../../coordinator/charge.js';
import type { Journal } from '../../../coordinator/journal.js';
import { idsOf } from '../../../coordinator/members.js';
import { beginMembership, isNewest } from '../../../coordinator/membership.js';
import type {
  MembershipConfig,
  MembershipEffect,
  MembershipEvent,
  MembershipState,
  Past,
  Recovery,
} from '../../../coordinator/membership-state.js';
import type { RecordBefore, RunRecord, StepLine, Validation } from '../../../coordinator/run-record.js';
import type { Acts } from './acts.js';
import type { Process } from './process.js';
import { WorkerConnections } from './worker-connections.js';
import type { World } from './world.js';

const ticksPerTimeout = 10;
const findingMs = 5;

export interface CoordinatorOptions {
  readonly world: World;
  readonly process: Process;
  /** Null: the run begins. */
  readonly past: Past | null;
  readonly before: RecordBefore | null;
  readonly journal: Journal;
  readonly acts: Acts;
}

export class Coordinator {
  readonly process: Process;
  readonly connections: WorkerConnections;
  readonly #options: CoordinatorOptions;
  readonly #world: World;
  readonly #config: MembershipConfig;
  readonly #record: RunRecord;
  readonly #charge: Charge;
  #state: MembershipState;
  #reason: string | null = null;

  constructor(options: CoordinatorOptions) {
    const { world, process, past, before, journal } = options;
    const { job, setting, patience } = world;
    this.process = process;
    this.#options = options;
    this.#world = world;
    const { numWorkers, minWorkers, isSharded } = setting;
    const { runId, term } = journal.content;
    const fixed = {
      runId,
      term,
      past,
      slots: job.shape.slots,
      isSharded,
      checkpoint: past?.checkpoint ?? null,
      facts: {},
    };
    this.#config = { ...fixed, numWorkers, minWorkers, patience };
    this.#state = beginMembership(this.#config, world.clock.nowMs);
    const shape = { schedule: job.schedule, metricNames: [], engine: '', compiled: false, firstStep: 0 };
    this.#record = world.parts.makeRecord(shape, job.shape.slots, before);
    this.#charge = world.parts.makeCharge(journal, patience);
    this.connections = this.#makeConnections();
    this.#tick();
  }

  #makeConnections(): WorkerConnections {
    return new WorkerConnections({
      acts: this.#options.acts,
      hear: this.#world.parts.hear,
      onHello: (hello) => {
        this.#take({ ...hello, isRemote: false });
      },
      onMessage: (workerId, message) => {
        this.#onMessage(workerId, message);
      },
      onClosed: (workerId, why) => {
        this.#take({ type: 'lost', workerId, why });
      },
    });
  }

  get isEnding(): boolean {
    const { phase, isStopping } = this.#state;
    return !this.process.isDead && (isStopping || phase === 'finished' || phase === 'failed');
  }

  /** What the run waits for. */
  get reason(): string | null {
    return this.#reason;
  }

  stop(): void {
    this.#take({ type: 'stop' });
  }

  /** A worker's process is known to be gone. */
  reportLoss(workerId: string): void {
    this.#take({ type: 'lost', workerId, why: 'its process is gone' });
  }

  /** A worker of a run whose files are lost brings the run's name with it. */
  #noteRun({ runId, term, generation, roster }: MembershipState, before: MembershipState): void {
    if (runId === before.runId && term === before.term) return;
    const { journal, acts } = this.#options;
    journal.note({ runId, term, generation, roster });
    acts.do(() => {
      this.#world.command.onRunFound(this.process, runId, term);
    });
  }

  /** Whether this process has the run still. */
  #isInCharge(): boolean {
    const { isReplaced } = this.#charge;
    if (isReplaced || this.#charge.isHeld(this.#world.clock.nowMs)) return !isReplaced;
    this.#yield('the journal is that of another one');
    return false;
  }

  #yield(why: string): void {
    this.#world.trace(() => `${this.process.name} ends: ${why}`);
    this.#charge.giveUp();
    this.process.die(true);
    this.#world.command.onYield();
  }

  /** After what has come in by now. */
  #tick(): void {
    const { process } = this;
    process.after(this.#world.patience.heartbeatTimeoutMs / ticksPerTimeout, () => {
      process.after(0, () => {
        this.#take({ type: 'tick' });
      });
      this.#tick();
    });
  }

  #onMessage(workerId: string, message: FromWorker): void {
    if (!this.#isInCharge()) return;
    switch (message.type) {
      case 'ready':
      case 'halted':
      case 'connected':
      case 'heartbeat':
      case 'draining':
      case 'leaving':
      case 'finished':
        this.#take({ ...message, workerId });
        break;
      case 'failed': {
        const { code, message: text } = message.failure;
        const error = new LockstepError(isErrorCode(code) ? code : 'ERR_WORKER_FAILED', text);
        this.#take({ type: 'failed', workerId, error });
        break;
      }
      case 'progress':
        this.#write(this.#record.addSteps(message, this.#world.clock.nowMs));
        break;
      case 'evaluated': {
        const validation = this.#record.addEvaluation(message.step, message.slots);
        if (validation) this.#write([validation]);
        break;
      }
      case 'checkpointed': {
        const { step, path } = message;
        if (!isNewest(this.#state, step)) break;
        this.#take(message);
        this.#options.journal.note({ checkpoint: { step, path } });
        break;
      }
      default:
        throw new Error(`A simulated worker says no ${message.type}.`);
    }
  }

  /** Into metrics.jsonl. */
  #write(lines: readonly (StepLine | Validation)[]): void {
    const { folder, invariants } = this.#world;
    if (lines.length === 0) return;
    this.#options.acts.do(() => {
      folder.addMetrics(lines);
      invariants.onTold(lines, this.#state.runId);
    });
  }

  #take(event: MembershipEvent): void {
    if (this.process.isDead || !this.#isInCharge()) return;
    const world = this.#world;
    const { name } = this.process;
    if (event.type !== 'tick' && event.type !== 'heartbeat')
      world.trace(() => `${name} takes ${JSON.stringify(event)}`);
    const { state, effects, reason } = world.parts.membership(this.#config, this.#state, event, world.clock.nowMs);
    this.#noteRun(state, this.#state);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
    if (reason !== this.#reason) world.trace(() => `${name}: ${reason ?? 'training'}`);
    this.#reason = reason;
  }

  #perform(effect: MembershipEffect): void {
    const { acts } = this.#options;
    const world = this.#world;
    switch (effect.type) {
      case 'welcome': {
        const { runId, term } = this.#state;
        const plan = { ...world.plan, runId, term, runDirMark: this.#options.journal.owner };
        this.connections.send([effect.workerId], { type: 'welcome', plan });
        break;
      }
      case 'refuse':
        this.connections.refuse(effect.workerId, effect.error);
        break;
      case 'evict':
        this.connections.refuse(effect.workerId, effect.error);
        acts.do(() => {
          world.launcher.end(effect.workerId);
        });
        break;
      case 'dismiss':
        this.connections.dismiss(effect.workerId);
        break;
      case 'halt':
        this.connections.send(effect.workerIds, { type: 'halt', generation: effect.generation });
        break;
      case 'seek-checkpoint':
        this.process.after(findingMs, () => {
          const checkpoint = world.disk.latest();
          this.#options.journal.note({ checkpoint });
          this.#take({ type: 'checkpoint-found', checkpoint });
        });
        break;
      case 'form-generation':
        this.#form(effect);
        break;
      case 'start': {
        const { workerIds, recoveries, ...start } = effect;
        const { numSteps: told, numValidated: validated } = this.#record;
        this.connections.send(workerIds, { ...start, told, validated });
        this.#note(recoveries);
        break;
      }
      case 'adopt':
        this.#note(effect.recoveries);
        break;
      case 'warn':
        world.trace(() => effect.text);
        break;
      case 'drain':
        this.connections.send(effect.workerIds, { type: 'drain' });
        break;
      case 'stop-after':
        this.connections.send(effect.workerIds, { ...effect, step: Math.max(effect.step, this.#record.numSteps) });
        break;
      case 'yield':
        this.#yield(effect.error.message);
        break;
      case 'forget':
        throw new Error('A simulated coordinator is of the host of its workers.');
      default:
        this.#finish(effect);
    }
  }

  #form({ type: _type, roster, ...generation }: Extract<MembershipEffect, { type: 'form-generation' }>): void {
    const { acts, journal } = this.#options;
    const { runId } = this.#state;
    const { invariants, clock } = this.#world;
    const isUnheld = roster.every(({ step }) => step === null);
    acts.do(() => {
      invariants.terms.onForm(runId, generation.generation, this.process, clock.nowMs);
      const place = { coordinator: this.process.name, generation: generation.generation };
      if (isUnheld) invariants.onResume(place, generation.step);
    });
    journal.note({ generation: generation.generation, roster });
    this.connections.send(idsOf(roster), { ...generation, type: 'generation', workers: [...roster] });
  }

  #note(recoveries: readonly Recovery[]): void {
    for (const recovery of recoveries) this.#record.addRecovery({ ...recovery, redoneSteps: 0 });
    if (recoveries.length > 0) this.#options.journal.note({ recoveries: this.#record.recoveries });
  }

  #finish(effect: Extract<MembershipEffect, { type: 'finish' | 'fail' }>): void {
    this.#options.acts.do(() => {
      if (effect.type === 'fail') this.#world.onFail(effect.error);
      else this.#world.onFinish(effect.step, effect.weightsSha256);
    });
  }
}
