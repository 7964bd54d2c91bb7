/**
 * Makes the effects of the membership machine happen: messages to workers, what the next coordinator has to know, and the
 * end of the run. What comes of an effect later is an event of the machine again.
 */
import { LockstepError, toLockstepError } from '../src/errors.js';
import type { RunPlan } from '../src/protocol/messages.js';
import type { CoordinatorOptions } from './coordinator-options.js';
import { within } from './deadline.js';
import type { Endings } from './endings.js';
import type { Injections } from './injections.js';
import { idsOf } from './members.js';
import type {
  CheckpointPlace,
  MembershipEffect,
  MembershipEvent,
  MembershipState,
  Recovery,
} from './membership-state.js';
import type { Reports } from './reports.js';
import { runPlan } from './run-plan.js';
import type { WorkerConnections } from './worker-connections.js';

/** How the run ended for this coordinator. */
export interface RunEnd {
  readonly error: LockstepError | null;
  readonly weightsSha256: string | null;
}

export interface PerformerParts {
  readonly options: CoordinatorOptions;
  readonly connections: WorkerConnections;
  readonly reports: Reports;
  readonly injections: Injections;
  readonly endings: Endings;
  /** Data that workers get from here; null: each reads its own. */
  readonly served: RunPlan['served'];
  readonly take: (event: MembershipEvent) => void;
  readonly onEnd: (end: RunEnd) => void;
  /** The run is another coordinator's by now, and goes on there. */
  readonly onYield: (error: LockstepError) => void;
}

type Effect<Type extends MembershipEffect['type']> = Extract<MembershipEffect, { type: Type }>;

export class Performer {
  readonly #parts: PerformerParts;

  constructor(parts: PerformerParts) {
    this.#parts = parts;
  }

  perform(effect: MembershipEffect, state: MembershipState): void {
    const { options, connections, served } = this.#parts;
    switch (effect.type) {
      case 'welcome':
        connections.send([effect.workerId], { type: 'welcome', plan: runPlan(options, state, served) });
        break;
      case 'refuse':
        connections.refuse(effect.workerId, effect.error);
        break;
      case 'evict':
        connections.refuse(effect.workerId, effect.error);
        options.onEvicted?.(effect.workerId, effect.pid);
        break;
      case 'dismiss':
        connections.dismiss(effect.workerId);
        break;
      case 'forget':
        connections.forget(effect.workerIds);
        break;
      case 'halt':
        connections.send(effect.workerIds, { type: 'halt', generation: effect.generation });
        break;
      case 'seek-checkpoint':
        void this.#seekCheckpoint(state.checkpoint);
        break;
      case 'form-generation':
        this.#formGeneration(effect);
        break;
      case 'start':
        this.#start(effect);
        break;
      case 'adopt':
        this.#parts.reports.record?.start(performance.now(), effect.step);
        this.#tell(effect.recoveries);
        break;
      case 'yield':
        this.#parts.onYield(effect.error);
        break;
      case 'warn':
        options.log.warn(effect.text);
        break;
      case 'drain':
        connections.send(effect.workerIds, { type: 'drain' });
        break;
      case 'stop-after':
        // What has been told of is taken again first, where the run has gone back to a checkpoint.
        connections.send(effect.workerIds, { type: 'stop-after', step: Math.max(effect.step, this.#told) });
        break;
      case 'finish':
        connections.sayGoodbye(idsOf(state.roster));
        void this.#end({ error: null, weightsSha256: effect.weightsSha256 });
        break;
      case 'fail':
        connections.abort(effect.error);
        void this.#end({ error: effect.error, weightsSha256: null });
        break;
    }
  }

  #formGeneration({ type: _type, roster, ...generation }: Effect<'form-generation'>): void {
    const { connections, options } = this.#parts;
    options.journal?.note({ generation: generation.generation, roster });
    connections.send(idsOf(roster), { ...generation, type: 'generation', workers: [...roster] });
  }

  #start({ workerIds, recoveries, ...start }: Effect<'start'>): void {
    const { connections, injections, options, reports } = this.#parts;
    reports.record?.start(performance.now(), this.#told);
    const faults = [...injections.ofWorkers];
    if ((options.faults ?? []).length > 0) connections.send(workerIds, { type: 'faults', faults });
    // What goes through no link can be neither delayed nor cut.
    const inMemory = start.inMemory && !injections.concernLinks;
    const validated = reports.record?.numValidated ?? 0;
    connections.send(workerIds, { ...start, inMemory, told: this.#told, validated });
    this.#tell(recoveries);
  }

  async #seekCheckpoint(told: CheckpointPlace | null): Promise<void> {
    const { options, take } = this.#parts;
    try {
      const checkpoint = await findCheckpoint(options, told);
      options.journal?.note({ checkpoint });
      take({ type: 'checkpoint-found', checkpoint });
    } catch (thrown) {
      take({ type: 'abandon', error: toLockstepError(thrown) });
    }
  }

  #tell(recoveries: readonly Recovery[]): void {
    for (const recovery of recoveries) {
      this.#parts.endings.tell({ ...recovery, redoneSteps: Math.max(0, this.#told - recovery.step) });
    }
  }

  /** Steps whose records are here. */
  get #told(): number {
    return this.#parts.reports.record?.numSteps ?? 0;
  }

  async #end({ error, weightsSha256 }: RunEnd): Promise<void> {
    const { endings, reports, onEnd } = this.#parts;
    await endings.told;
    onEnd({ error: error && reports.withCheckpoint(await endings.explain(error)), weightsSha256 });
  }
}

async function findCheckpoint(
  { findCheckpoint: find, limits, runDir }: CoordinatorOptions,
  told: CheckpointPlace | null,
): Promise<CheckpointPlace | null> {
  if (!find) return told;
  const { workersTimeoutMs } = limits;
  return within(find(told), workersTimeoutMs, () => {
    const message = `The checkpoints of ${runDir} could not be read within ${workersTimeoutMs} ms: its disk does not answer.`;
    return new LockstepError('ERR_RUN_DIR', message);
  });
}
