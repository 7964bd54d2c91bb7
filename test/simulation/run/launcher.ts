/** Starts a worker in each place, and another one after it. What bin/local-workers.ts does, or something outside of the run. */
import { Worker } from './worker.js';
import type { World } from './world.js';

export class Launcher {
  readonly #world: World;
  /** The newest of each place, by place: place 0 is the coordinator's. */
  readonly #workers = new Map<number, Worker>();
  /** Places where no other one was started, as the run was about to end. */
  readonly #givenUp = new Set<number>();
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

  /**
   * A coordinator begins. Where workers are children of its command, that watches those that the one before has started. A run that was
   * about to end is not, if the coordinator that knew it is dead.
   */
  onCoordinator(): void {
    const { isTrain } = this.#world.setting;
    for (const [place, { process }] of this.#workers) {
      if (process.isDead && (isTrain || this.#givenUp.delete(place))) this.#replace(place);
    }
  }

  #keep(place: number): void {
    const world = this.#world;
    const worker = new Worker(world, `w${String(this.#numStarted++).padStart(3, '0')}`, place);
    this.#workers.set(place, worker);
    worker.process.onDead(() => {
      this.#replace(place);
    });
  }

  /** By the command, while it runs; or by something else that starts workers. */
  #replace(place: number): void {
    const { setting, clock, random, command } = this.#world;
    const { coordinator } = command;
    const dead = this.#workers.get(place);
    const delayMs = random.between(50, 400);
    const replace = (): void => {
      if (this.#workers.get(place) !== dead) return;
      if (command.coordinator.isEnding) {
        this.#givenUp.add(place);
        return;
      }
      if (setting.isTrain && dead) coordinator.reportLoss(dead.workerId);
      this.#keep(place);
    };
    if (setting.isTrain) coordinator.process.after(delayMs, replace);
    else clock.after(delayMs, replace);
  }
}
