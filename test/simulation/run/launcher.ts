/** Starts a worker in each place, and another one after it. What bin/local-workers.ts does. */
import { Worker } from './worker.js';
import type { World } from './world.js';

export class Launcher {
  readonly #world: World;
  /** The newest of each place, by place: place 0 is the coordinator's. */
  readonly #workers = new Map<number, Worker>();
  #numStarted = 0;

  constructor(world: World) {
    this.#world = world;
  }

  start(): void {
    const { numWorkers } = this.#world.setting;
    for (let place = 1; place <= numWorkers; place++) this.#keep(place);
  }

  at(place: number): Worker | undefined {
    return this.#workers.get(place);
  }

  /** Where its host can be reached. */
  end(workerId: string): void {
    const { network } = this.#world;
    const worker = [...this.#workers.values()].find((one) => one.workerId === workerId);
    if (!worker) return;
    const { process } = worker;
    if (!network.isCut(0, process.place) && !network.isCut(process.place, 0)) process.die(true);
  }

  /** One more, of whom nobody asks whether it lives. */
  add(workerId: string, place: number): Worker {
    return new Worker(this.#world, workerId, place);
  }

  #keep(place: number): void {
    const world = this.#world;
    const worker = new Worker(world, `w${String(this.#numStarted++).padStart(3, '0')}`, place);
    this.#workers.set(place, worker);
    worker.process.onDead(() => {
      world.clock.after(world.random.between(50, 400), () => {
        if (!world.coordinator.isEnding) this.#keep(place);
      });
    });
  }
}
