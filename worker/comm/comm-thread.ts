/**
 * The comm thread: owns every socket of the worker, its heartbeat, its part in generations, the reduction and the optimizer.
 * It lives while the main thread sits inside TensorFlow. One of its errors is told to the main thread and ends nothing by itself.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { assert, LockstepError, toLockstepError } from '../../src/errors.js';
import { decodeMessage } from '../../src/protocol/codec.js';
import { fromCoordinatorSchema, type FromCoordinator, type FromWorker } from '../../src/protocol/messages.js';
import { joinFragments, type Connection } from '../../transport/connection.js';
import { dial } from '../../transport/dialler.js';
import { Impediment } from '../../transport/impediment.js';
import type { CommOptions, FromComm, ToComm } from './channel.js';
import { toPlainError } from './channel.js';
import { Injector } from './injector.js';
import { ofGenerations, Participation, type OfGenerations } from './participation.js';
import { PeerListener } from './peer-listener.js';
import { SharedPages } from './shared-pages.js';

const port = parentPort;
assert(port, 'comm-thread runs in a worker thread');

class CommThread {
  readonly #coordinator: Connection;
  readonly #listener: PeerListener;
  readonly #participation: Participation;
  readonly #injector: Injector;
  #heartbeat: NodeJS.Timeout | undefined;
  #closing = false;

  private constructor(
    options: CommOptions,
    parts: { readonly coordinator: Connection; readonly listener: PeerListener; readonly impediment: Impediment },
  ) {
    const { workerId, token, limits, sharedPagesPath } = options;
    const { coordinator, listener, impediment } = parts;
    this.#coordinator = coordinator;
    this.#listener = listener;
    const pages = sharedPagesPath === null ? null : SharedPages.load(sharedPagesPath);
    const send = (message: FromWorker): void => {
      coordinator.send(message);
    };
    const signal = (name: NodeJS.Signals): void => void process.kill(process.pid, name);
    this.#injector = new Injector({ impediment, send, signal });
    const own = { workerId, token, limits, listener, pages, impediment };
    this.#participation = new Participation({ ...own, send, post, report });
    coordinator.onMessage((message) => {
      guard(() => {
        this.#onSaid(decodeMessage(fromCoordinatorSchema, joinFragments(message)));
      });
    });
    void coordinator.closed.then(({ code, reason }) => {
      if (this.#closing) return;
      const why = reason || `code ${code}`;
      report(new LockstepError('ERR_COORDINATOR_LOST', `The connection to the coordinator is gone (${why}).`));
    });
  }

  static async start(options: CommOptions): Promise<CommThread> {
    const impediment = new Impediment();
    const listener = await PeerListener.listen(options, impediment, post);
    const { coordinator: endpoint, token, limits } = options;
    const maxMessageBytes = limits.maxControlBytes;
    try {
      const coordinator = await dial({ endpoint, token, limits, maxMessageBytes, impediment });
      return new CommThread(options, { coordinator, listener, impediment });
    } catch (error) {
      await listener.close();
      throw error;
    }
  }

  get addresses(): PeerListener['addresses'] {
    return this.#listener.addresses;
  }

  onMessage(message: ToComm): void {
    switch (message.type) {
      case 'send':
        this.#coordinator.send(message.message);
        break;
      case 'heartbeats':
        this.#beat(message.intervalMs);
        break;
      case 'run':
        guard(() => {
          this.#participation.prepare(message.setup);
        });
        break;
      case 'resting':
        guard(() => {
          this.#participation.onResting(message.generation, message.filled);
        });
        break;
      case 'gather-moments':
        void guardAsync(() => this.#participation.gatherMoments(message.region, message.bucket));
        break;
      case 'inject':
        this.#injector.inject(message.fault, message.step, () => {
          post({ type: 'injected' });
        });
        break;
      case 'close':
        void guardAsync(() => this.#close());
        break;
    }
  }

  #onSaid(message: FromCoordinator): void {
    if (isOfGenerations(message)) {
      this.#participation.onMessage(message);
      return;
    }
    // One that leaves may be in a step, which is not committed with it any more.
    if (message.type === 'goodbye') this.#participation.close();
    post({ type: 'received', message });
  }

  #beat(intervalMs: number): void {
    clearInterval(this.#heartbeat);
    this.#heartbeat = setInterval(() => {
      this.#coordinator.send({ type: 'heartbeat', ...this.#participation.vitals });
    }, intervalMs);
  }

  async #close(): Promise<void> {
    this.#closing = true;
    clearInterval(this.#heartbeat);
    this.#participation.close();
    this.#coordinator.close();
    await this.#coordinator.closed;
    await this.#listener.close();
    post({ type: 'closed' });
    port?.close();
  }
}

function isOfGenerations(message: FromCoordinator): message is OfGenerations {
  return ofGenerations.some((type) => type === message.type);
}

function post(message: FromComm): void {
  port?.postMessage(message);
}

function report(error: LockstepError): void {
  post({ type: 'failed', error: toPlainError(error) });
}

function guard(action: () => void): void {
  try {
    action();
  } catch (error) {
    report(toLockstepError(error));
  }
}

async function guardAsync(action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    report(toLockstepError(error));
  }
}

await guardAsync(async () => {
  const thread = await CommThread.start(workerData as CommOptions); // started by CommLink, which passes just that
  port.on('message', (message: ToComm) => {
    thread.onMessage(message);
  });
  post({ type: 'online', addresses: thread.addresses });
});
