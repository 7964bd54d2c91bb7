/**
 * The comm thread: owns every socket of the worker, its heartbeat, its part in generations, the reduction and the optimizer.
 * It lives while the main thread sits inside TensorFlow. One of its errors is told to the main thread and ends nothing by itself.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { assert, type LockstepError, toLockstepError } from '../../src/errors.js';
import type { FromCoordinator, FromWorker } from '../../src/protocol/messages.js';
import { Impediment } from '../../transport/impediment.js';
import type { CommOptions, FromComm, ToComm } from './channel.js';
import { toPlainError } from './channel.js';
import { FlightRecorder } from '../flight/flight-recorder.js';
import { CoordinatorLink } from './coordinator-link.js';
import { FileRelay } from './file-relay.js';
import { Injector } from './injector.js';
import { ofGenerations, Participation, type OfGenerations } from './participation.js';
import { PeerListener } from './peer-listener.js';
import { SharedPages } from './shared-pages.js';

/** For the flight recorder, at the worker's end: a disk that does not answer holds up nobody. */
const lastWritingMs = 2_000;

const port = parentPort;
assert(port, 'comm-thread runs in a worker thread');

class CommThread {
  readonly #listener: PeerListener;
  readonly #participation: Participation;
  readonly #flight: FlightRecorder;
  readonly #injector: Injector;
  readonly #files: FileRelay;
  #coordinator: CoordinatorLink | null = null;
  #heartbeat: NodeJS.Timeout | undefined;
  #intervalMs = Infinity;
  #beatMs = 0;

  private constructor(options: CommOptions, listener: PeerListener, impediment: Impediment) {
    const { workerId, token, limits, sharedPagesPath } = options;
    this.#listener = listener;
    const pages = sharedPagesPath === null ? null : SharedPages.load(sharedPagesPath);
    const send = (message: FromWorker, onHeard?: () => void): void => {
      this.#coordinator?.send(message, onHeard);
    };
    const signal = (name: NodeJS.Signals): void => void process.kill(process.pid, name);
    this.#injector = new Injector({ impediment, send, signal });
    const isAlone = (): boolean => this.#coordinator?.isAway ?? true;
    const pulse = (): void => {
      if (performance.now() - this.#beatMs >= this.#intervalMs) this.#sayAlive();
    };
    this.#files = new FileRelay(send);
    this.#flight = new FlightRecorder({
      workerId,
      onUnwritable: (why) => {
        const message = `the flight recorder cannot write to the run directory: ${why}`;
        post({ type: 'log', level: 'debug', message, fields: {} });
      },
    });
    const flight = this.#flight;
    const report = (error: LockstepError): void => {
      this.#recordError(error);
    };
    const own = { workerId, token, limits, listener, pages, impediment, flight };
    this.#participation = new Participation({ ...own, send, isAlone, post, report, pulse });
  }

  static async start(options: CommOptions): Promise<CommThread> {
    const impediment = new Impediment();
    const listener = await PeerListener.listen(options, impediment, post);
    const { coordinator: endpoint, token, limits } = options;
    const thread = new CommThread(options, listener, impediment);
    try {
      thread.#coordinator = await CoordinatorLink.reach({
        ...{ endpoint, token, limits, impediment },
        standing: () => thread.#participation.standing,
        onMessage: (message) => {
          guard(() => {
            thread.#onSaid(message);
          });
        },
        note: (level, message) => {
          if (level === 'info') thread.#flight.note('coordinator', message);
          post({ type: 'log', level, message, fields: {} });
        },
        onFailure: (error) => {
          thread.#onCoordinatorFailed(error);
        },
      });
      return thread;
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
        this.#send(message.message);
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
      case 'files':
        this.#files.serve(message.port);
        break;
      case 'close':
        void guardAsync(() => this.#close());
        break;
    }
  }

  #onCoordinatorFailed(error: LockstepError): void {
    const left = error.code === 'ERR_COORDINATOR_LOST' ? this.#participation.abandon() : null;
    if (left) post({ type: 'orphaned', error: toPlainError(error), left });
    else this.#recordError(error);
  }

  #send(message: FromWorker): void {
    this.#coordinator?.send(message);
    if (message.type !== 'failed') return;
    this.#flight.note('failed', message.failure.message);
    this.#flight.write();
  }

  #recordError(error: LockstepError): void {
    report(error);
    this.#flight.note('failed', error.message);
    this.#flight.write();
  }

  #onSaid(message: FromCoordinator): void {
    if (isOfGenerations(message)) {
      this.#participation.onMessage(message);
      return;
    }
    if (message.type === 'file') {
      this.#files.settle(message);
      return;
    }
    if (message.type === 'welcome') this.#flight.writeTo(message.plan);
    if (message.type === 'abort') {
      this.#flight.note('abort', message.failure.message);
      this.#flight.write();
    }
    if (message.type === 'drain') this.#participation.onDrain();
    if (message.type === 'goodbye') this.#participation.dismiss();
    post({ type: 'received', message });
  }

  #beat(intervalMs: number): void {
    clearInterval(this.#heartbeat);
    this.#intervalMs = intervalMs;
    this.#heartbeat = setInterval(() => {
      this.#sayAlive();
      this.#coordinator?.noticeSilence();
    }, intervalMs);
  }

  /** Goes out at once, also from inside of long work: a socket that has nothing to send is written to directly. */
  #sayAlive(): void {
    this.#beatMs = performance.now();
    this.#coordinator?.send({ type: 'heartbeat', ...this.#participation.vitals });
  }

  async #close(): Promise<void> {
    clearInterval(this.#heartbeat);
    this.#participation.close();
    await this.#coordinator?.close();
    await this.#listener.close();
    await Promise.race([this.#flight.written, delay(lastWritingMs, undefined, { ref: false })]);
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
