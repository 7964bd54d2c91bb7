/** The compute thread's end of the comm thread: starts it, sends it what it has to do, and hands over what it says. */
import { Worker } from 'node:worker_threads';
import type { LockstepError } from '../../src/errors.js';
import { toLockstepError } from '../../src/errors.js';
import type { Log } from '../../src/log.js';
import type { MomentRegion } from '../../src/optimizer/optimizer.js';
import type { Addresses, FromCoordinator, FromWorker } from '../../src/protocol/messages.js';
import { fromPlainError, type CommOptions, type FromComm, type GenerationSetup, type ToComm } from './channel.js';

export interface CommHandlers {
  onMessage(message: FromCoordinator): void;
  /** All peers of the generation are connected. `waker`: of the addon, for the comm thread; 0 where there is none. */
  onConnected(generation: number, waker: number): void;
  /** Something ended the generation or the connection to the coordinator. */
  onFailure(error: LockstepError): void;
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

  enter(setup: GenerationSetup): void {
    this.#post({ type: 'generation', setup });
  }

  /**
   * Rank 0 of a sharded run: resolves when the region `gathered` holds a moment of a bucket; never, where the generation
   * fails. One at a time.
   */
  async gatherMoments(region: MomentRegion, bucket: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const listen = ({ type }: FromComm): void => {
        if (type !== 'gathered') return;
        this.#thread.off('message', listen);
        resolve();
      };
      this.#thread.on('message', listen);
      this.#post({ type: 'gather-moments', region, bucket });
    });
  }

  /** Sends what is still to be sent, closes every socket and ends the thread, unless an error has ended it before. */
  async close(): Promise<void> {
    this.#post({ type: 'close' });
    await this.#exited;
  }

  #post(message: ToComm): void {
    this.#thread.postMessage(message);
  }
}

function deliver(message: Exclude<FromComm, { type: 'online' | 'failed' }>, handlers: CommHandlers, log: Log): void {
  switch (message.type) {
    case 'received':
      handlers.onMessage(message.message);
      break;
    case 'connected':
      handlers.onConnected(message.generation, message.waker);
      break;
    case 'log':
      log[message.level](message.message, message.fields);
      break;
    case 'gathered': // its asker listens
    case 'closed':
      break;
  }
}
