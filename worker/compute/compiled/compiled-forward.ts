/**
 * The forward pass in inference mode as one graph, for inputs of one shape: the eager pass's bits in a fraction of its time, which
 * is spent between ops. Where it has not its bits there is none, and a reason.
 */
import { assert, toLockstepError } from '../../../src/errors.js';
import type { Column } from '../../../src/job/dataset.js';
import { sizeOf } from '../../../src/state/parameter.js';
import { inputValues } from '../batch.js';
import { asItIs } from '../contribution.js';
import type { NativeAddon } from '../engine/native-addon.js';
import type { Tfjs } from '../engine/tfjs.js';
import { nodeBackend } from '../node-backend.js';
import type { SlotStep } from '../step.js';
import { NativeGraph } from './native-graph.js';
import { firstDifference } from './record.js';
import { recordPass, type Recording } from './recorder.js';
import { sameBits, shiftRows } from './same-bits.js';
import type { Feed, StepGraph } from './step-graph.js';

export interface CompiledForwardOptions {
  readonly tf: Tfjs;
  readonly step: SlotStep;
  readonly addon: NativeAddon;
  /** The model's output for inputs of this shape, as the eager pass has it. */
  readonly eager: (x: Column) => Column;
}

export class CompiledForward {
  readonly #graph: StepGraph;
  readonly #step: SlotStep;
  readonly #outputShape: readonly number[];

  private constructor(graph: StepGraph, step: SlotStep, outputShape: readonly number[]) {
    this.#graph = graph;
    this.#step = step;
    this.#outputShape = outputShape;
  }

  static compile(options: CompiledForwardOptions, x: Column): CompiledForward | { readonly reason: string } {
    const { tf, step, addon, eager } = options;
    const binding = nodeBackend(tf)?.binding;
    if (!binding) return { reason: `graphs need TensorFlow, and the backend is "${tf.getBackend()}"` };
    const recording = recordTwice(options, x);
    if ('reason' in recording) return recording;
    let graph: NativeGraph | undefined;
    try {
      graph = NativeGraph.load(recording.record, { addon, binding, numMetrics: 0 });
      const forward = new CompiledForward(graph, step, eager(x).shape);
      const isSame = [x, shiftRows(x)].every((rows) => sameBits(floats(eager(rows)), floats(forward.run(rows))));
      if (isSame) return forward;
      graph.dispose();
      return { reason: 'its output does not have the bits of the eager pass' };
    } catch (error) {
      graph?.dispose();
      return { reason: `TensorFlow refuses its graph: ${toLockstepError(error).message}` };
    }
  }

  /** The output is the caller's to keep. */
  run(x: Column): Column {
    const data = new Float32Array(sizeOf(this.#outputShape));
    this.#graph.run(feedOf(this.#step, x), { gradients: [data], state: [] }, asItIs);
    return { data, shape: this.#outputShape };
  }

  dispose(): void {
    this.#graph.dispose();
  }
}

/** Whatever differs between two passes that differ in their rows alone would be frozen into the graph. */
function recordTwice({ tf, step }: CompiledForwardOptions, x: Column): Recording {
  const first = recordPass(tf, (observer) => step.traceForward(x, observer));
  if ('reason' in first) return first;
  const second = recordPass(tf, (observer) => step.traceForward(shiftRows(x), observer));
  if ('reason' in second) return second;
  const reason = firstDifference(first.record, second.record);
  return reason === null ? first : { reason };
}

function feedOf({ weights }: SlotStep, x: Column): Feed {
  return ({ role, index }) => {
    const values = role === 'weight' ? weights[index] : role === 'inputs' ? inputValues(x).values : undefined;
    assert(values, `The forward pass has no ${role} ${index}`);
    return values;
  };
}

function floats({ data }: Column): Float32Array {
  assert(data instanceof Float32Array, 'An output of a model is not float32');
  return data;
}
