/** The simulated coordinator: the membership machine on virtual connections. What coordinator/coordinator.ts does. */
import { LockstepError } from '../../../src/errors.js';
import { isErrorCode } from '../../../src/errors.js';
import { toFailure, type FromCoordinator, type FromWorker } from '../../../src/protocol/messages.js';
import { idsOf } from '../../../coordinator/members.js';
import { beginMembership } from '../../../coordinator/membership.js';
import type {
  MembershipConfig,
  MembershipEffect,
  MembershipEvent,
  MembershipState,
} from '../../../coordinator/membership-state.js';
import { RunRecord } from '../../../coordinator/run-record.js';
import type { End } from './network.js';
import { Process } from './process.js';
import type { ControlMessage, World } from './world.js';

const ticksPerTimeout = 10;
const findingMs = 5;

export class Coordinator {
  readonly process: Process;
  readonly #world: World;
  readonly #config: MembershipConfig;
  readonly #ends = new Map<string, End<ControlMessage>>();
  readonly #record: RunRecord;
  #state: MembershipState;
  #reason: string | null = null;

  constructor(world: World) {
    const { job, setting, patience } = world;
    this.process = new Process(world.clock, 'coordinator', 0);
    this.#world = world;
    const { numWorkers, minWorkers } = setting;
    const began = { runId: 'run', term: 1, past: null };
    const fixed = { ...began, slots: job.shape.slots, isSharded: false, checkpoint: null, facts: {} };
    this.#config = { ...fixed, numWorkers, minWorkers, patience };
    this.#state = beginMembership(this.#config, world.clock.nowMs);
    const shape = { schedule: job.schedule, metricNames: [], engine: '', compiled: false, firstStep: 0 };
    this.#record = new RunRecord(shape, job.shape.slots, null);
    this.#tick();
  }

  get isEnding(): boolean {
    const { phase, isStopping } = this.#state;
    return isStopping || phase === 'finished' || phase === 'failed';
  }

  /** What the run waits for. */
  get reason(): string | null {
    return this.#reason;
  }

  stop(): void {
    this.#take({ type: 'stop' });
  }

  onConnection(end: End<ControlMessage>): void {
    let workerId: string | null = null;
    const isCurrent = (): boolean => workerId !== null && this.#ends.get(workerId) === end;
    end.listen({
      onMessage: (message) => {
        const heard = this.#world.parts.hear(message as FromWorker); // the other end is a worker
        if (!heard) return;
        if (heard.type === 'hello' && workerId === null) workerId = this.#admit(end, heard);
        else if (workerId !== null && isCurrent()) this.#onMessage(workerId, heard);
      },
      onClosed: () => {
        if (workerId === null || !isCurrent()) return;
        this.#ends.delete(workerId);
        this.#take({ type: 'lost', workerId, why: 'its connection closed' });
      },
    });
  }

  #admit(end: End<ControlMessage>, hello: Extract<FromWorker, { type: 'hello' }>): string | null {
    if (this.#ends.has(hello.workerId)) {
      const error = new LockstepError('ERR_PROTOCOL', `There is a worker ${hello.workerId} already.`);
      end.send({ type: 'abort', failure: toFailure(error, null) });
      end.terminate();
      return null;
    }
    this.#ends.set(hello.workerId, end);
    this.#take({ ...hello, isRemote: false });
    return hello.workerId;
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
        this.#world.invariants.onTold(this.#record.addSteps(message, this.#world.clock.nowMs));
        break;
      case 'evaluated': {
        const validation = this.#record.addEvaluation(message.step, message.slots);
        if (validation) this.#world.invariants.onValidation(validation);
        break;
      }
      case 'checkpointed':
        this.#take(message);
        break;
      default:
        throw new Error(`A simulated worker says no ${message.type}.`);
    }
  }

  #take(event: MembershipEvent): void {
    const world = this.#world;
    if (event.type !== 'tick' && event.type !== 'heartbeat')
      world.trace(() => `coordinator takes ${JSON.stringify(event)}`);
    const { state, effects, reason } = world.parts.membership(this.#config, this.#state, event, world.clock.nowMs);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
    if (reason !== this.#reason) world.trace(() => `coordinator: ${reason ?? 'training'}`);
    this.#reason = reason;
  }

  #perform(effect: MembershipEffect): void {
    switch (effect.type) {
      case 'welcome':
        this.#send([effect.workerId], { type: 'welcome', plan: this.#world.plan });
        break;
      case 'refuse':
        this.#refuse(effect.workerId, effect.error);
        break;
      case 'evict':
        this.#refuse(effect.workerId, effect.error);
        this.#world.launcher.end(effect.workerId);
        break;
      case 'dismiss':
        this.#send([effect.workerId], { type: 'goodbye' });
        this.#ends.delete(effect.workerId);
        break;
      case 'halt':
        this.#send(effect.workerIds, { type: 'halt', generation: effect.generation });
        break;
      case 'seek-checkpoint':
        this.process.after(findingMs, () => {
          this.#take({ type: 'checkpoint-found', checkpoint: this.#world.disk.latest() });
        });
        break;
      case 'form-generation': {
        const { type: _type, roster, ...generation } = effect;
        if (roster.every(({ step }) => step === null)) this.#world.invariants.onResume(effect.step);
        this.#send(idsOf(roster), { ...generation, type: 'generation', workers: [...roster] });
        break;
      }
      case 'start': {
        const { workerIds, recoveries: _recoveries, ...start } = effect;
        this.#send(workerIds, { ...start, told: this.#record.numSteps });
        break;
      }
      case 'warn':
        this.#world.trace(() => effect.text);
        break;
      case 'drain':
        this.#send(effect.workerIds, { type: 'drain' });
        break;
      case 'stop-after':
        this.#send(effect.workerIds, { type: 'stop-after', step: effect.step });
        break;
      case 'finish':
        this.#world.onFinish(effect.step, effect.weightsSha256);
        break;
      case 'adopt':
      case 'yield':
      case 'forget':
        throw new Error('A simulated coordinator is of the host of its workers, with no other before or after it.');
      case 'fail':
        this.#world.onFail(effect.error);
    }
  }

  #send(workerIds: readonly string[], message: FromCoordinator): void {
    for (const workerId of workerIds) this.#ends.get(workerId)?.send(message);
  }

  #refuse(workerId: string, error: LockstepError): void {
    const end = this.#ends.get(workerId);
    this.#ends.delete(workerId);
    end?.send({ type: 'abort', failure: toFailure(error, null) });
    end?.terminate();
  }
}
