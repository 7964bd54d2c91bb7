/**
 * The coordinator's connections: takes the first message of each, shows a watcher the status, and keeps a worker's under
 * the worker's id. What does not fit is refused and logged, and harms no other connection.
 */
import { LockstepError, toLockstepError } from '../src/errors.js';
import type { Log } from '../src/log.js';
import { isKept } from '../src/membership/outbox.js';
import { decodeMessage } from '../src/protocol/codec.js';
import { fromWorkerSchema, openingSchema, toFailure } from '../src/protocol/messages.js';
import type { FromCoordinator, FromWorker, Status } from '../src/protocol/messages.js';
import { lockstepVersion } from '../src/version.js';
import { joinFragments, type Connection } from '../transport/connection.js';

/** What a worker says first, and whether it said so from another host. */
export type Hello = Extract<FromWorker, { type: 'hello' }> & { readonly isRemote: boolean };
/** What it says from then on. */
export type Message = Exclude<FromWorker, { type: 'hello' }>;

export interface WorkerConnectionsOptions {
  /** Time from the opening of a connection to its first message. */
  readonly openingTimeoutMs: number;
  readonly log: Log;
  readonly status: () => Status;
  /** Returns how many workers the run wanted before; throws where it cannot have so many. */
  readonly onScale: (numWorkers: number) => number;
  readonly onHello: (hello: Hello) => void;
  readonly onMessage: (workerId: string, message: Message) => void;
  readonly onClosed: (hello: Hello, why: string) => void;
}

export class WorkerConnections {
  readonly #options: WorkerConnectionsOptions;
  readonly #byWorker = new Map<string, Connection>();

  constructor(options: WorkerConnectionsOptions) {
    this.#options = options;
  }

  /** A connection that has proved the token and has said nothing yet. */
  async open(connection: Connection): Promise<void> {
    try {
      const timeoutMs = this.#options.openingTimeoutMs;
      const opening = await connection.receive(openingSchema, { what: 'first message', timeoutMs });
      if (opening.type === 'watch') this.#answer(connection, this.#options.status());
      else if (opening.type === 'scale') this.#scale(connection, opening.numWorkers);
      else this.#admit(connection, { ...opening, isRemote: connection.isRemote });
    } catch (thrown) {
      this.#drop(connection, `a connection from ${connection.remote}`, toLockstepError(thrown));
    }
  }

  send(workerIds: readonly string[], message: FromCoordinator): void {
    for (const workerId of workerIds) this.#byWorker.get(workerId)?.send(message);
  }

  /** Those that have done their work are told so, and others, such as one that still loads, that there is none. */
  sayGoodbye(workerIds: readonly string[]): void {
    this.send(workerIds, { type: 'goodbye' });
    const ended = abortMessage(new LockstepError('ERR_PROTOCOL', 'The run has ended.'));
    for (const [workerId, connection] of this.#byWorker) {
      if (workerIds.includes(workerId)) continue;
      this.#byWorker.delete(workerId);
      connection.send(ended);
      connection.close();
    }
  }

  /** Lets a worker go that has ended its part: what it says until it closes the connection is of no interest. */
  dismiss(workerId: string): void {
    this.send([workerId], { type: 'goodbye' });
    this.#byWorker.delete(workerId);
  }

  /** Tells all why the run ends. */
  abort(error: LockstepError): void {
    for (const connection of this.#byWorker.values()) connection.send(abortMessage(error));
  }

  /** Tells the worker why, and forgets it. */
  refuse(workerId: string, error: LockstepError): void {
    const connection = this.#byWorker.get(workerId);
    this.#byWorker.delete(workerId);
    if (connection) this.#drop(connection, `worker ${workerId}`, error);
  }

  /** Without a word: they look for a coordinator, this one or another. */
  forget(workerIds: Iterable<string> = [...this.#byWorker.keys()]): void {
    for (const workerId of workerIds) {
      const connection = this.#byWorker.get(workerId);
      this.#byWorker.delete(workerId);
      connection?.terminate();
    }
  }

  /** Lets the last messages out. */
  close(): void {
    for (const connection of this.#byWorker.values()) connection.close();
  }

  #scale(connection: Connection, numWorkers: number): void {
    try {
      this.#answer(connection, { type: 'scaled', numBefore: this.#options.onScale(numWorkers) });
    } catch (thrown) {
      this.#answer(connection, abortMessage(toLockstepError(thrown)));
    }
  }

  #answer(connection: Connection, message: object): void {
    connection.send(message);
    connection.close();
  }

  #admit(connection: Connection, hello: Hello): void {
    const { workerId, lockstepVersion: version } = hello;
    if (version !== lockstepVersion) {
      const message = `Worker ${workerId} runs Lockstep ${version}, the coordinator ${lockstepVersion}. Install the same on both.`;
      throw new LockstepError('ERR_WORKER_MISMATCH', message);
    }
    const before = this.#byWorker.get(workerId);
    if (before && !hello.standing) {
      const message = `There is a worker ${workerId} already. Each start needs an id of its own; leave out --id to get one.`;
      throw new LockstepError('ERR_PROTOCOL', message);
    }
    this.#byWorker.set(workerId, connection);
    // It has given up the connection before, which may not have noticed its end yet.
    before?.terminate();
    this.#options.onHello(hello);
    let numKept = 0;
    connection.onMessage((fragments) => {
      if (this.#byWorker.get(workerId) !== connection) return; // refused: its last words change nothing
      try {
        const message = decodeMessage(fromWorkerSchema, joinFragments(fragments));
        this.#take(workerId, message);
        if (isKept(message)) numKept++;
        if (message.type === 'heartbeat') connection.send({ type: 'heard', count: numKept });
      } catch (thrown) {
        this.#drop(connection, `worker ${workerId}`, toLockstepError(thrown));
      }
    });
    void connection.closed.then(({ code, reason }) => {
      if (this.#byWorker.get(workerId) !== connection) return;
      this.#byWorker.delete(workerId);
      this.#options.onClosed(hello, `its connection closed (${reason || `code ${code}`})`);
    });
  }

  #take(workerId: string, message: FromWorker): void {
    if (message.type !== 'hello') this.#options.onMessage(workerId, message);
    else throw new LockstepError('ERR_PROTOCOL', `Worker ${workerId} said hello twice.`);
  }

  #drop(connection: Connection, who: string, error: LockstepError): void {
    const { message, code } = error;
    this.#options.log.warn(`refused ${who}: ${message}`, { remote: connection.remote, code });
    connection.send(abortMessage(error));
    connection.close(1008, message);
  }
}

function abortMessage(error: LockstepError): FromCoordinator {
  return { type: 'abort', failure: toFailure(error, null) };
}
