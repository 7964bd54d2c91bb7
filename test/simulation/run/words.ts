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

  get stage(): 'between' | 'computing' | 'reducing' {
    if (this.numBegun <= this.numCommitted) return 'between';
    return this.numReady.some((numReady) => numReady < this.numBegun) ? 'computing' : 'reducing';
  }
}
