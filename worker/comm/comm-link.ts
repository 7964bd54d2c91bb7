/** The compute thread's end of the comm thread: starts it, sends it what it has to do, and hands over what it says. */
import { MessageChannel, Worker, type MessagePort } from 'node:worker_threads';
import type { WorkerFault } from '../../src/chaos/faults.js';
import type { LockstepError } from '../../src/errors.js';
import { toLockstepError } from '../../src/errors.js';
import type { Log } from '../../src/log.js';
import type { MomentRegion } from '../../src/optimizer/optimizer.js';
import type { Addresses, FromCoordinator, FromWorker } from '../../src/protocol/messages.js';
import {
  fromPlainError,
  type CommOptions,
  type FromComm,
  type Left,
  type OfGeneration,
  type RunSetup,
  type ToComm,
} from './channel.js';

export interface CommHandlers {
  onMessage(message: FromCoordinator): void;
  /** A halt, and what comes of a generation: channel.ts. */
  onOfGeneration(message: OfGeneration): void;
  /**
   * Something ended this worker's part in the run, or the connection to the coordinator. `left`: where none comes any more, the
   * state, which stays as it is from now on.
   */
  onFailure(error: LockstepError, left?: Left): void;
}

export class CommLink {
  readonly addresses: Addresses;
  readonly #thread: Worker;
  readonly #exited: Promise<void>;

  private constructor(thread: Worker, exited: Promise<void>, addresses: Addresses) {
    this.#thread = thread;
    this.#exited = exited;
    this.addresses = addresses;
  }

  /** Starts the comm thread; resolves when it listens for peers and has reached the coordinator. */
  static async start(options: CommOptions, handlers: CommHandlers, log: Log): Promise<CommLink> {
    const thread = new Worker(new URL('./comm-thread.js', import.meta.url), { workerData: options, name: 'comm' });
    const exited = new Promise<void>((resolve) => {
      thread.once('exit', () => {
        resolve();
      });
    });
    const addresses = await new Promise<Addresses>((resolve, reject) => {
      let online = false;
      const fail = (error: LockstepError): void => {
        if (online) handlers.onFailure(error);
        else reject(error);
      };
      thread.on('error', (error) => {
        fail(toLockstepError(error));
      });
      thread.on('message', (message: FromComm) => {
        if (message.type === 'online') {
          online = true;
          resolve(message.addresses);
        } else if (message.type === 'failed') fail(fromPlainError(message.error));
        else deliver(message, handlers, log);
      });
    }).catch(async (error: unknown) => {
      await thread.terminate();
      throw error;
    });
    return new CommLink(thread, exited, addresses);
  }

  send(message: FromWorker): void {
    this.#post({ type: 'send', message });
  }

  beat(intervalMs: number): void {
    this.#post({ type: 'heartbeats', intervalMs });
  }

  /** Hands over what does not change in the run, before `ready` is sent. */
  prepare(setup: RunSetup): void {
    this.#post({ type: 'run', setup });
  }

  /** The answer to `onEnter`. `filled`: the memory holds the state that the generation begins with. */
  rest(generation: number, filled: boolean): void {
    this.#post({ type: 'resting', generation, filled });
  }

  /** A port for one who asks about files of the run directory (file-relay.ts). */
  openFiles(): MessagePort {
    const { port1, port2 } = new MessageChannel();
    this.#thread.postMessage({ type: 'files', port: port2 } satisfies ToComm, [port2]);
    return port1;
  }

  /**
   * Rank 0 of a sharded run: whether the region `gathered` holds a moment of a bucket; false where the generation ended
   * before. One at a time.
   */
  async gatherMoments(region: MomentRegion, bucket: number): Promise<boolean> {
    const { whole } = await this.#ask({ type: 'gather-moments', region, bucket }, 'gathered');
    return whole;
  }

  /** Resolves when it has befallen this process; never, where it does not outlive that. One at a time. */
  async inject(fault: WorkerFault, step: number): Promise<void> {
    await this.#ask({ type: 'inject', fault, step }, 'injected');
  }

  /** Sends what is still to be sent, closes every socket and ends the thread, unless an error has ended it before. */
  async close(): Promise<void> {
    this.#post({ type: 'close' });
    await this.#exited;
  }

  async #ask<T extends FromComm['type']>(message: ToComm, answer: T): Promise<Extract<FromComm, { type: T }>> {
    return new Promise((resolve) => {
      const listen = (said: FromComm): void => {
        if (said.type !== answer) return;
        this.#thread.off('message', listen);
        resolve(said as Extract<FromComm, { type: T }>); // of just that type
      };
      this.#thread.on('message', listen);
      this.#post(message);
    });
  }

  #post(message: ToComm): void {
    this.#thread.postMessage(message);
  }
}

function deliver(message: Exclude<FromComm, { type: 'online' | 'failed' }>, handlers: CommHandlers, log: Log): void {
  switch (message.type) {
    case 'orphaned':
      handlers.onFailure(fromPlainError(message.error), message.left);
      break;
    case 'received':
      handlers.onMessage(message.message);
      break;
    case 'halted':
    case 'enter':
    case 'begin':
      handlers.onOfGeneration(message);
      break;
    case 'log':
      log[message.level](message.message, message.fields);
      break;
    case 'gathered': // their askers listen
    case 'injected':
    case 'closed':
      break;
  }
}
