/** Times the reductions of the comm thread, from the last bucket that gets ready here to the commit. */
import {
  awaitedIndex,
  awaitedRankIndex,
  networkIndex,
  nobody,
  optimizerIndex,
  spend,
  type CommTimes,
} from './comm-times.js';

export class ReductionClock {
  readonly #times: CommTimes;
  #readyMs = 0;
  #completeMs = 0;
  /** When all of a peer's frame was here last, and of which rank; `nobody` since the last bucket got ready. */
  #heardMs = 0;
  #heardRank = nobody;

  constructor(times: CommTimes) {
    this.#times = times;
  }

  /** A bucket is ready here. */
  ready(): void {
    this.#readyMs = performance.now();
    this.#heardRank = nobody;
  }

  /** All of a frame of a step is here, and nothing has been made of it yet. */
  heard(rank: number): void {
    this.#heardMs = performance.now();
    this.#heardRank = rank;
  }

  /** All results of the step are here. */
  complete(): void {
    this.#completeMs = performance.now();
    spend(this.#times, networkIndex, this.#completeMs - this.#readyMs);
    if (this.#heardRank !== nobody) spend(this.#times, awaitedIndex, this.#heardMs - this.#readyMs);
    this.#times[awaitedRankIndex] = this.#heardRank;
  }

  committed(): void {
    spend(this.#times, optimizerIndex, performance.now() - this.#completeMs);
  }
}
