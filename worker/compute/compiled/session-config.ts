/**
 * The ConfigProto of a compiled step's session (field numbers: tensorflow/core/protobuf/{config,rewriter_config}.proto).
 * What it sets is what keeps a graph's bits those of the eager pass, and what makes small ops cheap.
 */
import { Message } from './wire.js';

/**
 * Runs ops in the thread that asks, one after the other, as eager mode does. The work of an op is shared out all the same,
 * over the process's one pool of TF_NUM_INTRAOP_THREADS threads.
 */
const callersThread = -1;

export function encodeSessionConfig({ gpu }: { readonly gpu: boolean }): Uint8Array {
  // Grappler off: it reorders arithmetic. Constant folding and merging of equal nodes stay on: they run the same kernels.
  const rewriting = new Message().integer(19, true);
  const config = new Message().integer(7, true).message(10, new Message().message(10, rewriting));
  if (gpu) return config.encode();
  const experimental = new Message().bytes(3, 'SINGLE_THREADED_EXECUTOR').integer(9, true).integer(12, true);
  return config.integer(5, callersThread).message(16, experimental).encode();
}
