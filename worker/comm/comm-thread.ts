/**
 * The comm thread: owns every socket of the worker, its heartbeat, the reduction and the optimizer. It lives while the
 * main thread sits inside TensorFlow. One of its errors is told to the main thread and ends nothing by itself.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { assert, LockstepError, toLockstepError } from '../../src/errors.js';
import { decodeMessage } from '../../src/protocol/codec.js';
import { fromCoordinatorSchema } from '../../src/protocol/messages.js';
import { joinFragments, type Connection } from '../../transport/connection.js';
import { dial } from '../../transport/dialler.js';
import { requireNative } from '../compute/engine/native-build.js';
import type { CommOptions, FromComm, GenerationSetup, ToComm } from './channel.js';
import { toPlainError } from './channel.js';
import { GenerationRun } from './generation-run.js';
import { PeerListener } from './peer-listener.js';
import { SharedPages } from './shared-pages.js';

const port = parentPort;
assert(port, 'comm-thread runs in a worker thread');

class CommThread {
  readonly #options: CommOptions;
  readonly #coordinator: Connection;
  readonly #listener: PeerListener;
  readonly #pages: SharedPages | null;
  #run: GenerationRun | null = null;
  #heartbeat: NodeJS.Timeout | undefined;
  #closing = false;

  private constructor(options: CommOptions, coordinator: Connection, listener: PeerListener) {
    this.#options = options;
    this.#pages = options.sharedPagesPath === null ? null : SharedPages.load(options.sharedPagesPath);
    this.#coordinator = coordinator;
    this.#listener = listener;
    coordinator.onMessage((message) => {
      guard(() => {
        post({ type: 'received', message: decodeMessage(fromCoordinatorSchema, joinFragments(message)) });
      });
    });
    void coordinator.closed.then(({ code, reason }) => {
      if (this.#closing) return;
      const why = reason || `code ${code}`;
      report(new LockstepError('ERR_COORDINATOR_LOST', `The connection to the coordinator is gone (${why}).`));
    });
  }

  static async start(options: CommOptions): Promise<CommThread> {
    const listener = await PeerListener.listen(options, post);
    const { coordinator: endpoint, token, limits } = options;
    const maxMessageBytes = limits.maxControlBytes;
    try {
      const coordinator = await dial({ endpoint, token, limits, maxMessageBytes });
      return new CommThread(options, coordinator, listener);
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
      case 'generation':
        void guardAsync(() => this.#enter(message.setup));
        break;
      case 'gather-moments':
        void guardAsync(async () => {
          await this.#run?.gatherMoments(message.region, message.bucket);
          post({ type: 'gathered' });
        });
        break;
      case 'close':
        void guardAsync(() => this.#close());
        break;
    }
  }

  async #enter(setup: GenerationSetup): Promise<void> {
    const { token, limits } = this.#options;
    const { hostId } = this.#listener.addresses;
    const run = new GenerationRun(setup, { token, limits, hostId, pages: this.#pages, report });
    this.#run = run;
    this.#listener.deliverTo(run);
    await run.connect();
    post({ type: 'connected', generation: setup.generation.generation, waker: this.#wakerOf(setup.stepAddonPath) });
  }

  /** TensorFlow is in this process already where steps run through the addon; 0: they do not. */
  #wakerOf(stepAddonPath: string | null): number {
    if (stepAddonPath === null) return 0;
    const native = requireNative(stepAddonPath);
    return 'addon' in native ? native.addon.createWaker(() => this.#run?.wake()) : 0;
  }

  #beat(intervalMs: number): void {
    clearInterval(this.#heartbeat);
    this.#heartbeat = setInterval(() => {
      const { step = 0, waiting = null } = this.#run ?? {};
      this.#coordinator.send({ type: 'heartbeat', step, waiting });
    }, intervalMs);
  }

  async #close(): Promise<void> {
    this.#closing = true;
    clearInterval(this.#heartbeat);
    this.#run?.close();
    this.#coordinator.close();
    await this.#coordinator.closed;
    await this.#listener.close();
    post({ type: 'closed' });
    port?.close();
  }
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
