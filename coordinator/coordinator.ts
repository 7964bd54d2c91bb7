/**
 * The coordinator: turns connections into events of the membership machine, and its effects into messages. It sees no
 * gradient and no weight, so its memory does not grow with the model, and nothing on the path of a step waits for it.
 */
import { assert, LockstepError, isErrorCode, toLockstepError } from '../src/errors.js';
import type { LoadedJob } from '../src/job/loaded-job.js';
import { Schedule } from '../src/job/schedule.js';
import type { Log } from '../src/log.js';
import type { Facts } from '../src/protocol/facts.js';
import type { Limits } from '../src/protocol/limits.js';
import type { FromWorker, RunPlan, Status } from '../src/protocol/messages.js';
import { lockstepVersion } from '../src/version.js';
import type { Connection } from '../transport/connection.js';
import type { Endpoint } from '../transport/endpoint.js';
import { Listener } from '../transport/listener.js';
import { beginMembership, membership } from './membership.js';
import type { MembershipConfig, MembershipEffect, MembershipEvent, MembershipState } from './membership-state.js';
import { RowServer } from './row-server.js';
import { RunRecord, type RunObserver } from './run-record.js';
import { describeStatus } from './status.js';
import { abortMessage, WorkerConnections, type Hello } from './worker-connections.js';

export interface CoordinatorOptions {
  readonly runId: string;
  readonly runDir: string;
  readonly loaded: LoadedJob;
  readonly overrides: readonly string[];
  readonly numWorkers: number;
  readonly slots: number;
  readonly threads: number;
  /** Optimizer steps of the whole run at most; null: until the last epoch ends. */
  readonly steps: number | null;
  /** The checkpoint to go on from. */
  readonly resume: { readonly path: string; readonly step: number; readonly weightsSha256: string } | null;
  readonly endpoint: Endpoint;
  readonly token: string | null;
  readonly limits: Limits;
  /** How a worker's process ended, where the launcher knows. */
  readonly explainLoss?: (pid: number) => Promise<string | null>;
  readonly observer: RunObserver;
  readonly log: Log;
}

export interface RunResult {
  readonly error: LockstepError | null;
  readonly weightsSha256: string | null;
  /** Null where no worker was ready. */
  readonly record: RunRecord | null;
  readonly generations: number;
}

export class Coordinator {
  readonly endpoint: Endpoint;
  /** Resolves when the run has ended, well or badly. */
  readonly ended: Promise<RunResult>;
  readonly #options: CoordinatorOptions;
  readonly #config: MembershipConfig;
  readonly #listener: Listener;
  readonly #rows: RowServer | null;
  readonly #connections: WorkerConnections;
  readonly #clock: NodeJS.Timeout;
  #state: MembershipState;
  #reason: string | null = null;
  #record: RunRecord | null = null;
  #end: (result: RunResult) => void = () => undefined;

  private constructor(
    options: CoordinatorOptions,
    parts: { readonly rows: RowServer | null; readonly listener: Listener; readonly facts: Facts },
  ) {
    const { numWorkers, slots, limits } = options;
    this.#options = options;
    this.#listener = parts.listener;
    this.#rows = parts.rows;
    this.#config = { numWorkers, slots, heartbeatTimeoutMs: limits.heartbeatTimeoutMs, facts: parts.facts };
    this.#state = beginMembership(this.#config);
    this.endpoint = parts.listener.endpoint;
    this.ended = new Promise((resolve) => (this.#end = resolve));
    this.#connections = new WorkerConnections({
      openingTimeoutMs: limits.authenticationTimeoutMs,
      log: options.log,
      status: () => this.status(),
      onHello: (hello) => {
        this.#take(hello);
      },
      onMessage: (workerId, message) => {
        this.#onMessage(workerId, message);
      },
      onClosed: (hello, why) => void this.#onClosed(hello, why),
    });
    // After what has come in by now: a process that was stopped, or busy, must not take its own silence for the workers'.
    this.#clock = setInterval(() => {
      setImmediate(() => {
        this.#take({ type: 'tick' });
      });
    }, limits.heartbeatMs);
  }

  /** Opens the data if it is served, and listens. */
  static async start(options: CoordinatorOptions): Promise<Coordinator> {
    const { loaded, resume, endpoint, token, limits, log } = options;
    const rows = loaded.job.data.serve ? await RowServer.open(loaded) : null;
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

  /** A worker's process is gone. If it is in the run, its connection tells; if not, nobody else will. */
  failUnlessJoined(workerId: string, error: LockstepError): void {
    if (!this.#state.members.has(workerId)) this.#take({ type: 'abandon', error });
  }

  status(): Status {
    return describeStatus(this.#options, this.#state, this.#record, this.#reason);
  }

  /** What the run has come to, for one who does not wait for its end. */
  resultSoFar(error: LockstepError): RunResult {
    const { generation } = this.#state;
    return { error: this.#withCheckpoint(error), weightsSha256: null, record: this.#record, generations: generation };
  }

  /** Lets the last messages out, then closes every connection. */
  async close(): Promise<void> {
    clearInterval(this.#clock);
    this.#connections.close();
    await this.#listener.close();
    await this.#rows?.close();
  }

  async #onClosed({ workerId, pid }: Hello, why: string): Promise<void> {
    const ending = await this.#options.explainLoss?.(pid);
    this.#take({ type: 'lost', workerId, why: ending ?? why });
  }

  #onMessage(workerId: string, message: Exclude<FromWorker, Hello>): void {
    switch (message.type) {
      case 'ready':
        this.#take({ ...message, workerId });
        if (this.#state.members.has(workerId)) this.#onReady(workerId, message); // a worker that was refused tells nothing
        break;
      case 'connected':
      case 'heartbeat':
      case 'draining':
      case 'finished':
        this.#take({ ...message, workerId });
        break;
      case 'failed': {
        const { code, message: text } = message.failure;
        const error = new LockstepError(isErrorCode(code) ? code : 'ERR_WORKER_FAILED', text);
        this.#take({ type: 'failed', workerId, error });
        break;
      }
      case 'read-rows':
        void this.#serveRows(workerId, message);
        break;
      default:
        this.#onReport(message);
    }
  }

  #onReady(workerId: string, ready: Extract<FromWorker, { type: 'ready' }>): void {
    const { trainRows, metricNames, engine, compiled } = ready;
    this.#warnOfOtherDevices(workerId, ready.device);
    if (this.#record) return;
    const { loaded, slots, steps, resume } = this.#options;
    const schedule = new Schedule({ ...loaded.job, rows: trainRows, slots, steps: steps ?? loaded.job.steps });
    const shape = { schedule, metricNames, engine, compiled, firstStep: resume?.step ?? 0 };
    this.#record = new RunRecord(shape, slots, resume?.path ?? null);
  }

  /** TensorFlow chooses its instructions by the processor, and with them the last bits of a gradient. */
  #warnOfOtherDevices(workerId: string, device: string): void {
    const other = [...this.#state.members.values()].find((member) => member.device !== '' && member.device !== device);
    if (!other) return;
    this.#options.log.warn(
      `worker ${workerId} computes on ${device}, worker ${other.workerId} on ${other.device}: the weights' bits will ` +
        'depend on which of them holds which slot',
    );
  }

  #onReport(message: Extract<FromWorker, { type: 'progress' | 'evaluated' | 'checkpointed' }>): void {
    const { observer } = this.#options;
    const record = this.#record;
    assert(record, 'a worker trains before any was ready');
    if (message.type === 'progress') {
      observer.onSteps(record.addSteps(message, performance.now()), record);
    } else if (message.type === 'evaluated') {
      const validation = record.addEvaluation(message.step, message.slots);
      if (validation) observer.onValidation(validation);
    } else {
      record.addCheckpoint(message.step, message.path);
      observer.onCheckpoint(message.step, message.path);
    }
  }

  async #serveRows(workerId: string, request: Extract<FromWorker, { type: 'read-rows' }>): Promise<void> {
    try {
      assert(this.#rows, `worker ${workerId} asked for rows of a job that serves none`);
      this.#connections.send(workerId, await this.#rows.answer(request));
    } catch (thrown) {
      this.#take({ type: 'failed', workerId, error: toLockstepError(thrown, 'ERR_DATA_INVALID') });
    }
  }

  #take(event: MembershipEvent): void {
    const { state, effects, reason } = membership(this.#config, this.#state, event, performance.now());
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
    if (reason === this.#reason) return;
    this.#reason = reason;
    this.#options.observer.onReason(reason);
  }

  #perform(effect: MembershipEffect): void {
    switch (effect.type) {
      case 'welcome':
        this.#connections.send(effect.workerId, { type: 'welcome', plan: this.#plan() });
        break;
      case 'refuse':
        this.#connections.refuse(effect.workerId, effect.error);
        break;
      case 'form-generation':
        this.#connections.broadcast({ type: 'generation', generation: effect.generation, workers: [...effect.roster] });
        break;
      case 'start':
        this.#record?.start(performance.now());
        this.#connections.broadcast({ type: 'start', generation: effect.generation });
        break;
      case 'drain':
        this.#connections.broadcast({ type: 'drain' });
        break;
      case 'stop-after':
        this.#connections.broadcast({ type: 'stop-after', step: effect.step });
        break;
      case 'finish':
        this.#connections.broadcast({ type: 'goodbye' });
        this.#finish(null, effect.weightsSha256);
        break;
      case 'fail':
        this.#connections.broadcast(abortMessage(effect.error));
        this.#finish(effect.error, null);
        break;
    }
  }

  #finish(error: LockstepError | null, weightsSha256: string | null): void {
    clearInterval(this.#clock);
    this.#end({
      error: error && this.#withCheckpoint(error),
      weightsSha256,
      record: this.#record,
      generations: this.#state.generation,
    });
  }

  /** Where to go on from, for whoever reads the error. */
  #withCheckpoint(error: LockstepError): LockstepError {
    const checkpoint = this.#record?.checkpoint;
    const next = checkpoint
      ? `The last checkpoint is ${checkpoint.path} (step ${checkpoint.step}); go on from it with --resume.`
      : 'There is no checkpoint yet.';
    const details = { ...error.details, checkpoint: checkpoint?.path ?? null };
    return new LockstepError(error.code, `${error.message} ${next}`, { cause: error, details });
  }

  #plan(): RunPlan {
    const { runId, runDir, loaded, overrides, slots, threads, steps, resume, limits } = this.#options;
    return {
      runId,
      runDir,
      jobPath: loaded.path,
      overrides: [...overrides],
      slots,
      threads,
      steps,
      resumeFrom: resume?.path ?? null,
      served: this.#rows?.served ?? null,
      heartbeatMs: limits.heartbeatMs,
    };
  }
}
