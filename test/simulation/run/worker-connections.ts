/** A simulated coordinator's connections, each under its worker's id: what coordinator/worker-connections.ts does. */
import { LockstepError } from '../../../src/errors.js';
import { isKept } from '../../../src/membership/outbox.js';
import { toFailure, type FromCoordinator, type FromWorker } from '../../../src/protocol/messages.js';
import type { Acts } from './acts.js';
import type { End } from './network.js';
import type { Parts } from './parts.js';
import type { ControlMessage } from './world.js';

type Hello = Extract<FromWorker, { type: 'hello' }>;

export interface WorkerConnectionsOptions {
  readonly acts: Acts;
  readonly hear: Parts['hear'];
  readonly onHello: (hello: Hello) => void;
  readonly onMessage: (workerId: string, message: FromWorker) => void;
  readonly onClosed: (workerId: string, why: string) => void;
}

export class WorkerConnections {
  readonly #options: WorkerConnectionsOptions;
  readonly #ends = new Map<string, End<ControlMessage>>();

  constructor(options: WorkerConnectionsOptions) {
    this.#options = options;
  }

  open(end: End<ControlMessage>): void {
    let workerId: string | null = null;
    let numKept = 0;
    const isCurrent = (): boolean => workerId !== null && this.#ends.get(workerId) === end;
    end.listen({
      onMessage: (message) => {
        const heard = this.#options.hear(message as FromWorker); // the other end is a worker
        if (!heard) return;
        if (heard.type === 'hello' && workerId === null) workerId = this.#admit(end, heard);
        else if (workerId !== null && isCurrent()) {
          this.#dropIfWrong(workerId, heard);
          if (isKept(heard)) numKept++;
          if (heard.type === 'heartbeat') this.#say(end, { type: 'heard', count: numKept });
        }
      },
      onClosed: () => {
        if (workerId === null || !isCurrent()) return;
        this.#ends.delete(workerId);
        this.#options.onClosed(workerId, 'its connection closed');
      },
    });
  }

  send(workerIds: readonly string[], message: FromCoordinator): void {
    for (const workerId of workerIds) {
      const end = this.#ends.get(workerId);
      if (end) this.#say(end, message);
    }
  }

  dismiss(workerId: string): void {
    this.send([workerId], { type: 'goodbye' });
    this.#ends.delete(workerId);
  }

  refuse(workerId: string, error: LockstepError): void {
    const end = this.#ends.get(workerId);
    this.#ends.delete(workerId);
    if (end) this.#drop(end, error);
  }

  #admit(end: End<ControlMessage>, hello: Hello): string | null {
    const { workerId, standing } = hello;
    const before = this.#ends.get(workerId);
    if (before && !standing) {
      this.#drop(end, new LockstepError('ERR_PROTOCOL', `There is a worker ${workerId} already.`));
      return null;
    }
    this.#ends.set(workerId, end);
    before?.terminate();
    this.#options.onHello(hello);
    return workerId;
  }

  #dropIfWrong(workerId: string, message: FromWorker): void {
    const { onMessage, onClosed } = this.#options;
    try {
      onMessage(workerId, message);
    } catch (thrown) {
      if (!(thrown instanceof LockstepError)) throw thrown;
      this.refuse(workerId, thrown);
      onClosed(workerId, thrown.message);
    }
  }

  #drop(end: End<ControlMessage>, error: LockstepError): void {
    this.#say(end, { type: 'abort', failure: toFailure(error, null) });
    end.terminate();
  }

  #say(end: End<ControlMessage>, message: FromCoordinator): void {
    this.#options.acts.do(() => {
      end.send(message);
    });
  }
}
