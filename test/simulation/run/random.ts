/** Chance, from a seed. */
import { uniformNumbers } from '../../../bench/scale/random.js';

export class Random {
  /** In [0, 1). */
  readonly next: () => number;

  constructor(seed: number) {
    this.next = uniformNumbers(seed);
  }

  between(least: number, most: number): number {
    return least + (most - least) * this.next();
  }
}
