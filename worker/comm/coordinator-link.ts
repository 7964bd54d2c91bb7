/**
 * This worker's connection to the coordinator, over all the coordinators that its run may have. One that is lost, or silent, ends
 * nothing: the worker goes on, looks for the next one, says where it stands, and tells what the one before has not kept.
 * Only one with the same run and no lower term is followed.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { LockstepError, toLockstepError } from '../../src/errors.js';
import { isFollowed } from '../../src/membership/following.js';
import { Outbox } from '../../src/membership/outbox.js';
import { decodeMessage } from '../../src/protocol/codec.js';
import { fromCoordinatorSchema } from '../../src/protocol/messages.js';
import type { FromCoordinator, FromWorker, RunPlan, Standing } from '../../src/protocol/messages.js';
import { joinFragments, type Connection, type Fragments } from '../../transport/connection.js';
import { dial, type DialOptions } from '../../transport/dialler.js';
import type { Endpoint } from '../../transport/endpoint.js';
import { publishedEndpoint } from './published-endpoint.js';

/** Between two tries to find a coordinator. */
const retryMs = 200;
/** For each step of a try. A process that is stopped takes connections, and answers none. */
const tryTimeoutMs = 1_000;

export interface CoordinatorLinkOptions extends Pick<DialOptions, 'endpoint' | 'token' | 'limits' | 'impediment'> {
  readonly standing: () => Pick<Standing, 'generation' | 'entered' | 'workers' | 'step' | 'isTraining'>;
  readonly onMessage: (message: FromCoordinator) => void;
  readonly note: (level: 'debug' | 'info', text: string) => void;
  /** There is no coordinator, and none has come for so long; or what it says cannot be read. */
  readonly onFailure: (error: LockstepError) => void;
}

type Hello = Extract<FromWorker, { type: 'hello' }>;

export class CoordinatorLink {
  readonly #options: CoordinatorLinkOptions;
  readonly #outbox = new Outbox();
  /** The last one that was followed; it may be closed. */
  #connection: Connection;
  #hello: Hello | null = null;
  #ready: Extract<FromWorker, { type: 'ready' }> | null = null;
  #plan: RunPlan | null = null;
  #heardMs = performance.now();
  #search: AbortController | null = null;
  /** Another connection was told where this worker stands: a coordinator that takes it drops the one before. */
  #isMeeting = false;
  /** The coordinator has let this worker go, or it goes by itself. */
  #isOver = false;

  private constructor(options: CoordinatorLinkOptions, connection: Connection) {
    this.#options = options;
    this.#connection = connection;
    this.#follow(connection);
  }

  /** Resolves when the coordinator is reached. */
  static async reach(options: CoordinatorLinkOptions): Promise<CoordinatorLink> {
    const { endpoint, token, limits, impediment } = options;
    const connection = await dial({ endpoint, token, limits, maxMessageBytes: limits.maxControlBytes, impediment });
    return new CoordinatorLink(options, connection);
  }

  /** Nothing is heard of a coordinator. */
  get isAway(): boolean {
    return this.#search !== null;
  }

  /** @param onHeard called when a coordinator has it for good, where it is one of those that have to arrive */
  send(message: FromWorker, onHeard?: () => void): void {
    if (message.type === 'hello') this.#hello = message;
    if (message.type === 'ready') this.#ready = message;
    const isConnected = this.#connection.isOpen;
    this.#outbox.add(message, isConnected, onHeard);
    if (isConnected) this.#connection.send(message);
    if (this.#outbox.numGivenUp === 1)
      this.#options.note('info', 'metrics of the first steps without a coordinator are given up');
  }

  /** To be called as often as a heartbeat: a coordinator that answers none is looked for elsewhere. */
  noticeSilence(): void {
    // After what has come in by now: this thread may have been stopped, or busy, itself.
    setImmediate(() => {
      const silentMs = performance.now() - this.#heardMs;
      const isSilent = silentMs > this.#options.limits.heartbeatTimeoutMs;
      if (isSilent) this.#seek(`it has been silent for ${Math.round(silentMs)} ms`);
    });
  }

  async close(): Promise<void> {
    this.#end();
    this.#connection.close();
    await this.#connection.closed;
  }

  #end(): void {
    this.#isOver = true;
    this.#stopSearch();
  }

  #stopSearch(): void {
    this.#search?.abort();
    this.#search = null;
  }

  #follow(connection: Connection): void {
    this.#connection = connection;
    this.#heardMs = performance.now();
    connection.onMessage((fragments) => {
      if (this.#connection === connection) this.#read(fragments);
    });
    void connection.closed.then(({ code, reason }) => {
      if (this.#connection === connection) this.#seek(reason || `code ${code}`);
    });
  }

  #read(fragments: Fragments): void {
    try {
      this.#hear(decodeMessage(fromCoordinatorSchema, joinFragments(fragments)));
    } catch (thrown) {
      this.#options.onFailure(toLockstepError(thrown));
    }
  }

  #hear(message: FromCoordinator): void {
    this.#heardMs = performance.now();
    // It was silent, and is the one that it was. If it has heard of the other connection by now, that one is the one that counts.
    if (!this.#isMeeting) this.#stopSearch();
    switch (message.type) {
      case 'heard':
        this.#outbox.heard(message.count);
        return;
      case 'welcome':
        this.#plan = message.plan;
        break;
      case 'rows':
      case 'file':
        this.#outbox.answered(message);
        break;
      case 'goodbye':
      case 'abort':
        this.#end();
        break;
      default:
    }
    this.#options.onMessage(message);
  }

  #seek(why: string): void {
    if (this.#isOver || this.#search) return;
    const plan = this.#plan;
    if (!plan || !this.#hello) {
      this.#isOver = true;
      const message = `The connection to the coordinator is gone (${why}).`;
      this.#options.onFailure(new LockstepError('ERR_COORDINATOR_LOST', message));
      return;
    }
    const search = new AbortController();
    this.#search = search;
    this.#options.note('info', `the coordinator is away (${why}): this worker goes on, and looks for it`);
    void this.#find(search.signal, this.#hello, plan, why);
  }

  async #find(signal: AbortSignal, hello: Hello, plan: RunPlan, why: string): Promise<void> {
    const sinceMs = this.#heardMs;
    const { coordinatorTimeoutMs } = this.#options.limits;
    while (!signal.aborted && performance.now() - sinceMs < coordinatorTimeoutMs) {
      for (const endpoint of await this.#places(plan)) {
        if (await this.#try(endpoint, { signal, hello, plan, sinceMs })) return;
      }
      await delay(retryMs, undefined, { signal }).catch(() => undefined); // then the loop ends
    }
    if (signal.aborted) return;
    this.#end();
    const message = `The coordinator is gone (${why}), and none has come for ${coordinatorTimeoutMs} ms.`;
    this.#options.onFailure(new LockstepError('ERR_COORDINATOR_LOST', message));
  }

  /** Where it was, and where the run's folder says that it is, if this worker can read it. */
  async #places({ runDir, runId }: RunPlan): Promise<readonly Endpoint[]> {
    const published = await publishedEndpoint(runDir, runId);
    const { endpoint } = this.#options;
    const isOther = published !== null && JSON.stringify(published) !== JSON.stringify(endpoint);
    return isOther ? [published, endpoint] : [endpoint];
  }

  /** Whether there is a coordinator to follow from now on. */
  async #try(
    endpoint: Endpoint,
    { signal, hello, plan, sinceMs }: { signal: AbortSignal; hello: Hello; plan: RunPlan; sinceMs: number },
  ): Promise<boolean> {
    const { token, limits, impediment } = this.#options;
    const once = { ...limits, connectTimeoutMs: 1, authenticationTimeoutMs: tryTimeoutMs };
    const dialling = { endpoint, token, limits: once, maxMessageBytes: limits.maxControlBytes, impediment, signal };
    try {
      const connection = await dial(dialling);
      const isTaken = !signal.aborted && (await this.#meet(connection, { hello, plan, sinceMs }));
      if (!isTaken) connection.terminate();
      return isTaken || signal.aborted;
    } catch (thrown) {
      this.#options.note('debug', `no coordinator yet: ${toLockstepError(thrown).message}`);
      return signal.aborted;
    }
  }

  /** Whether who listens there is followed from now on. */
  async #meet(
    connection: Connection,
    { hello, plan, sinceMs }: { hello: Hello; plan: RunPlan; sinceMs: number },
  ): Promise<boolean> {
    this.#isMeeting = true;
    try {
      connection.send({ ...hello, standing: this.#standing(plan, performance.now() - sinceMs) });
      const answer = await connection.receive(fromCoordinatorSchema, { what: 'welcome', timeoutMs: tryTimeoutMs });
      if (this.#isOver || !isFollowed(answer, plan)) return false;
      this.#change(connection, answer);
      return true;
    } catch (thrown) {
      this.#options.note('debug', `no coordinator yet: ${toLockstepError(thrown).message}`);
      return false;
    } finally {
      this.#isMeeting = false;
    }
  }

  #standing({ runId, term }: RunPlan, awayMs: number): Standing {
    return { runId, term, ...this.#options.standing(), awayMs, facts: this.#ready?.facts ?? {} };
  }

  #change(connection: Connection, answer: FromCoordinator): void {
    const before = this.#connection;
    this.#search = null;
    this.#follow(connection);
    before.terminate();
    if (answer.type === 'welcome') {
      this.#plan = answer.plan;
      this.#options.note('info', `the coordinator is back (term ${answer.plan.term})`);
      if (this.#ready) connection.send(this.#ready);
      for (const message of this.#outbox.reconnect()) connection.send(message);
    } else this.#hear(answer);
  }
}
