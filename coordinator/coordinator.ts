/**
 * The coordinator: turns connections into events of the membership machine, and its effects into messages. It sees no
 * gradient, and of a checkpoint a piece at a time, so its memory does not grow with the model, and nothing on the path of a step waits for it.
 */
import { rename } from 'node:fs/promises';
import { LockstepError } from '../src/errors.js';
import type { Facts } from '../src/protocol/facts.js';
import type { Status } from '../src/protocol/messages.js';
import { lockstepVersion } from '../src/version.js';
import type { Connection } from '../transport/connection.js';
import type { Endpoint } from '../transport/endpoint.js';
import { Listener } from '../transport/listener.js';
import { CheckpointStore } from './checkpoint-store.js';
import { Charge } from './charge.js';
import type { CoordinatorOptions, RunResult } from './coordinator-options.js';
import { Endings } from './endings.js';
import { Incoming } from './incoming.js';
import { Injections } from './injections.js';
import { beginMembership, membership } from './membership.js';
import type { MembershipConfig, MembershipEvent, MembershipState } from './membership-state.js';
import { Performer, type RunEnd } from './performer.js';
import { checkpointFolder } from './run-folder.js';
import { RowServer } from './row-server.js';
import { Reports } from './reports.js';
import { membershipConfig } from './run-plan.js';
import { refuseScale } from './scaling.js';
import { StragglerWatch } from './straggler-watch.js';
import { describeStatus } from './status.js';
import { WorkerConnections } from './worker-connections.js';

/** A silence is noticed this part of its limit late at most. */
const ticksPerTimeout = 10;

export class Coordinator {
  readonly endpoint: Endpoint;
  /** Resolves when the run has ended, well or badly. */
  readonly ended: Promise<RunResult>;
  readonly #options: CoordinatorOptions;
  readonly #config: MembershipConfig;
  readonly #listener: Listener;
  readonly #rows: RowServer | null;
  readonly #connections: WorkerConnections;
  readonly #stragglers: StragglerWatch;
  readonly #incoming: Incoming;
  readonly #reports: Reports;
  readonly #injections: Injections;
  readonly #charge: Charge;
  readonly #performer: Performer;
  readonly #clock: NodeJS.Timeout;
  #state: MembershipState;
  #reason: string | null = null;
  #end: (result: RunResult) => void = () => undefined;

  private constructor(
    options: CoordinatorOptions,
    parts: { readonly rows: RowServer | null; readonly listener: Listener; readonly facts: Facts },
  ) {
    const { limits } = options;
    this.#options = options;
    this.#listener = parts.listener;
    this.#rows = parts.rows;
    const { runDir, keepCheckpoint: keep = giveName } = options;
    const store = new CheckpointStore({ folder: checkpointFolder(runDir), keep });
    this.#config = membershipConfig(options, parts.facts);
    this.#state = beginMembership(this.#config, performance.now());
    this.endpoint = parts.listener.endpoint;
    this.ended = new Promise((resolve) => (this.#end = resolve));
    this.#connections = new WorkerConnections({
      openingTimeoutMs: limits.authenticationTimeoutMs,
      log: options.log,
      status: () => this.status(),
      onScale: (numWorkers) => this.scale(numWorkers),
      onHello: (hello) => {
        this.#take(hello);
      },
      onMessage: (workerId, message) => {
        if (this.#isInCharge()) this.#incoming.receive(workerId, message);
      },
      onClosed: (hello, why) => {
        this.#take({ type: 'lost', workerId: hello.workerId, why });
      },
    });
    this.#stragglers = new StragglerWatch({
      evictAfterSeconds: options.loaded.job.stragglers?.evictAfterSeconds ?? Infinity,
      onChange: (straggler) => this.#reports.record?.addStraggler(straggler),
      onOverdue: (workerId, why) => {
        this.#take({ type: 'straggling', workerId, why });
      },
      log: options.log,
    });
    this.#charge = new Charge(options.journal, limits);
    this.#reports = new Reports(options);
    this.#injections = new Injections({
      faults: options.faults ?? [],
      log: options.log,
      onInjected: (injection) => {
        this.#reports.onInjected(injection);
      },
      join: () => this.scale(this.#state.numWanted + 1),
      die: () => options.onCoordinatorFault?.(),
    });
    const take = (event: MembershipEvent): void => {
      this.#take(event);
    };
    this.#incoming = new Incoming({
      connections: this.#connections,
      reports: this.#reports,
      injections: this.#injections,
      stragglers: this.#stragglers,
      store,
      rows: parts.rows,
      journal: options.journal,
      state: () => this.#state,
      take,
    });
    const endings = new Endings({
      explainLoss: options.explainLoss,
      onRecovery: (recovery) => {
        this.#reports.onRecovery(recovery);
        const text = `${recovery.workerId ?? 'coordinator'} ${recovery.kind}: ${recovery.why}`;
        options.flight?.note({ kind: 'recovery', text }, this.#state);
      },
    });
    this.#performer = new Performer({
      options,
      connections: this.#connections,
      reports: this.#reports,
      injections: this.#injections,
      endings,
      served: parts.rows?.served ?? null,
      take,
      onEnd: (end) => {
        this.#onEnd(end);
      },
      onYield: (error) => {
        this.#yield(error);
      },
    });
    // After what has come in by now: a process that was stopped, or busy, must not take its own silence for the workers'.
    this.#clock = setInterval(() => {
      setImmediate(() => {
        this.#take({ type: 'tick' });
      });
    }, limits.heartbeatTimeoutMs / ticksPerTimeout);
  }

  /** Opens the data if it is served, and listens. */
  static async start(options: CoordinatorOptions): Promise<Coordinator> {
    const { loaded, resume, endpoint, token, limits, log } = options;
    const rows = loaded.job.data.serve ? await RowServer.open(loaded, limits) : null;
    const facts = {
      'Lockstep version': lockstepVersion,
      ...loaded.facts,
      ...rows?.served.facts,
      ...(resume && { 'weights of the checkpoint': resume.weightsSha256 }),
    };
    let coordinator: Coordinator | null = null;
    const onConnection = (connection: Connection): void => {
      if (coordinator) void coordinator.#connections.open(connection);
    };
    const maxMessageBytes = limits.maxControlBytes;
    const listener = await Listener.listen({ endpoint, token, limits, maxMessageBytes, log, onConnection });
    coordinator = new Coordinator(options, { rows, listener, facts });
    return coordinator;
  }

  /** Ctrl-C: all workers finish the same step, a checkpoint is written, and the run ends well. */
  stop(): void {
    this.#take({ type: 'stop' });
  }

  /**
   * The run wants so many workers from now on. Returns how many it wanted before.
   *
   * @throws LockstepError ERR_USAGE where it cannot have them
   */
  scale(numWorkers: number): number {
    const maxWorkers = this.#options.maxWorkers ?? this.#config.slots;
    const refusal = refuseScale({ ...this.#config, maxWorkers }, this.#state, numWorkers);
    if (refusal) throw refusal;
    const numBefore = this.#state.numWanted;
    this.#options.log.info(`the run wants ${numWorkers} worker(s), and wanted ${numBefore} before`);
    this.#take({ type: 'scale', numWorkers });
    this.#options.journal?.note({ numWanted: numWorkers });
    this.#options.onScaled?.(numWorkers);
    return numBefore;
  }

  /** Whether a generation has begun to train: what ends a worker from then on ends no run. */
  get hasStarted(): boolean {
    return this.#state.hasStarted;
  }

  /** Whether the run is about to end, or has. */
  get isEnding(): boolean {
    const { phase, isStopping } = this.#state;
    return isStopping || phase === 'finished' || phase === 'failed';
  }

  hasMember(workerId: string): boolean {
    return this.#state.members.has(workerId);
  }

  /** The run cannot begin. */
  abandon(error: LockstepError): void {
    this.#take({ type: 'abandon', error });
  }

  /** A worker that this coordinator has not heard of yet is known to be gone. */
  reportLoss(workerId: string, why: string): void {
    this.#take({ type: 'lost', workerId, why });
  }

  /** The launcher has given up: with too few workers the run ends, and waits no longer. */
  expectNoMoreWorkers(why: string): void {
    this.#take({ type: 'no-more-workers', why });
  }

  status(): Status {
    return describeStatus(this.#options, this.#state, this.#reports.record, this.#reason, this.#stragglers);
  }

  /** What the run has come to, for one who does not wait for its end. */
  resultSoFar(error: LockstepError): RunResult {
    return this.#result({ error: this.#reports.withCheckpoint(error), weightsSha256: null });
  }

  /** Lets the last messages out, then closes every connection. */
  async close(): Promise<void> {
    clearInterval(this.#clock);
    this.#connections.close();
    await this.#listener.close();
    await this.#rows?.close();
  }

  /** A worker of a run whose files are lost brings the run's name with it. */
  #noteRun({ runId, term, generation, roster }: MembershipState, before: MembershipState): void {
    if (runId === before.runId && term === before.term) return;
    this.#options.journal?.note({ runId, term, generation, roster });
    this.#options.onRunFound?.(runId);
  }

  /** Whether this process has the run still: if not, it does nothing more. */
  #isInCharge(): boolean {
    const { isReplaced } = this.#charge;
    if (isReplaced || this.#charge.isHeld(performance.now())) return !isReplaced;
    const message = 'Another coordinator has this run by now. This one ends; the run goes on.';
    this.#yield(new LockstepError('ERR_COORDINATOR_REPLACED', message));
    return false;
  }

  #take(event: MembershipEvent): void {
    if (!this.#isInCharge()) return;
    const { state, effects, reason } = membership(this.#config, this.#state, event, performance.now());
    this.#options.flight?.onEvent(event, this.#state);
    this.#noteRun(state, this.#state);
    this.#state = state;
    for (const effect of effects) {
      this.#options.flight?.onEffect(effect, this.#state);
      this.#performer.perform(effect, this.#state);
    }
    if (reason === this.#reason) return;
    this.#reason = reason;
    this.#options.observer.onReason(reason);
  }

  #yield(error: LockstepError): void {
    this.#charge.giveUp();
    this.#connections.forget();
    this.#onEnd({ error, weightsSha256: null });
  }

  #onEnd(end: RunEnd): void {
    clearInterval(this.#clock);
    this.#end(this.#result(end));
  }

  #result({ error, weightsSha256 }: RunEnd): RunResult {
    const { runId, generation } = this.#state;
    return { runId, error, weightsSha256, record: this.#reports.record, generations: generation };
  }
}

/** Of a checkpoint that nobody checks. */
async function giveName(aside: string, path: string): Promise<boolean> {
  await rename(aside, path);
  return true;
}
