/** How the two threads of a worker pace one another: what worker/comm/step-words.ts does in shared memory. */
export class Words {
  /** Steps, counted from the run's first. */
  numBegun: number;
  numCommitted: number;
  isClosed = false;
  /** By bucket, steps whose gradients are there. */
  readonly numReady: number[];

  constructor(step: number, numBuckets: number) {
    this.numBegun = step;
    this.numCommitted = step;
    this.numReady = new Array<number>(numBuckets).fill(step);
  }

  get isComputing(): boolean {
    return this.numReady.some((numReady) => numReady < this.numBegun);
  }

  get isBlocked(): boolean {
    return this.numReady.every((numReady) => numReady > this.numCommitted);
  }
}
