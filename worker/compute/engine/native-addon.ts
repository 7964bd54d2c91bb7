/** Lockstep's own addon (native/), as JavaScript sees it: graphs that run between arrays, and wakers of other threads. */
import type { BucketSignals } from '../contribution.js';

declare const graph: unique symbol;

/** A graph that the addon holds. */
export interface NativeGraphHandle {
  readonly [graph]: true;
}

/** A placeholder of a graph. */
export interface NativeFeed {
  /** Of its node. */
  readonly name: string;
  /** TensorFlow's number. */
  readonly dtype: number;
  readonly shape: readonly number[];
}

export interface NativeGraphOptions {
  /** Bytes of a GraphDef. */
  readonly graphDef: Uint8Array;
  /** Bytes of a ConfigProto, for the graph's session. */
  readonly config: Uint8Array;
  readonly feeds: readonly NativeFeed[];
  /** Outputs of nodes that are stored, all float32; `null` for one that is zeros. */
  readonly outputs: readonly ({ readonly name: string; readonly output: number } | null)[];
  /** The first so many outputs are stored as they are: weight and accumulation are for the others. */
  readonly numPlain: number;
}

export interface NativeAddon {
  /** @throws Error in TensorFlow's words, where it refuses the graph */
  createGraph(options: NativeGraphOptions): NativeGraphHandle;
  /**
   * Runs a graph once: `target = output * weight`, or `target = target + output * weight`, each operation rounded to
   * float32.
   *
   * @param feeds one per placeholder. Used in place where they begin on a 64-byte boundary
   * @param targets one per output; more are left alone
   * @param signals tells other threads of each bucket that is complete, as soon as it is
   * @throws Error in TensorFlow's words, where an op fails; some targets may be written then
   */
  runGraph(
    handle: NativeGraphHandle,
    feeds: readonly (Float32Array | Int32Array)[],
    targets: readonly Float32Array[],
    weight: number,
    accumulate: boolean,
    signals: BucketSignals | undefined,
  ): void;
  closeGraph(handle: NativeGraphHandle): void;
  /** Graphs of this process that are open. */
  numGraphs(): number;

  /**
   * Makes a number by which any thread of this process that has the addon can have `callback` called on this thread, in a
   * turn of its event loop. Wakes that come before the callback has begun are one. It does not keep the thread alive.
   */
  createWaker(callback: () => void): number;
  /** Does nothing where the waker is closed, or its thread has ended. */
  wake(waker: number): void;
  /** On the thread that made it. */
  closeWaker(waker: number): void;
}
