/** A record that TensorFlow runs as a whole: through tfjs-node's addon, or through Lockstep's own. */
import type { Contribution } from '../contribution.js';
import type { Measurements, SlotOutputs } from '../step.js';
import type { Placeholder } from './record.js';

/** The values of a placeholder, as many as its shape says. */
export type Feed = (placeholder: Placeholder) => Float32Array | Int32Array;

export interface StepGraph {
  /**
   * Runs the graph once; gradients and state go into `outputs`.
   *
   * @throws Error in TensorFlow's words, where an op fails
   */
  run(feed: Feed, outputs: SlotOutputs, contribution: Contribution): Measurements;
  dispose(): void;
}
