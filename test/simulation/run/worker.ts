/** A simulated worker: one process with two threads, from its start to its end. */
import type { LockstepError } from '../../../src/errors.js';
import { CommThread, threadMs } from './comm-thread.js';
import { ComputeThread } from './compute-thread.js';
import { Memory } from './memory.js';
import { Process } from './process.js';
import type { World } from './world.js';

export class Worker {
  readonly workerId: string;
  readonly process: Process;
  readonly compute: ComputeThread;
  readonly #world: World;
  readonly #comm: CommThread;

  constructor(world: World, workerId: string, place: number) {
    // Where it listens, too: two that have the same id differ in this.
    const process = new Process(world.clock, `${workerId}#${world.listeners.size}`, place);
    const memory = new Memory(world.job.shape.elements);
    const common = { world, process, workerId, memory };
    this.#world = world;
    this.workerId = workerId;
    this.process = process;
    const comm = new CommThread({
      ...common,
      post: (message) => {
        process.after(threadMs, () => {
          this.compute.post(message);
        });
      },
      wake: () => {
        process.after(threadMs, () => {
          this.compute.wake();
        });
      },
    });
    const toComm = (action: () => void): void => {
      process.after(threadMs, action);
    };
    this.#comm = comm;
    this.compute = new ComputeThread({
      ...common,
      send: (message) => {
        toComm(() => {
          comm.send(message);
        });
      },
      rest: (generation, filled) => {
        toComm(() => {
          comm.onResting(generation, filled);
        });
      },
      ready: () => {
        toComm(() => {
          comm.onReady();
        });
      },
      gatherMoments: (onEnd) => {
        toComm(() => {
          comm.gatherMoments((moments) => {
            process.after(threadMs, () => {
              onEnd(moments);
            });
          });
        });
      },
      onEnd: (error) => {
        this.#end(error);
      },
    });
  }

  /** SIGTERM. */
  leave(): void {
    this.process.run(() => {
      this.compute.leave();
    });
  }

  /** Its last words go out before. */
  #end(error: LockstepError | null): void {
    const { process, workerId } = this;
    this.#world.trace(() => `${workerId} ends: ${error?.message ?? 'its part is over'}`);
    this.#world.onWorkerEnd(process.name, error?.message ?? 'its part is over');
    process.after(2 * threadMs, () => {
      if (error) this.#comm.fail(error);
      process.die(true);
    });
  }
}
