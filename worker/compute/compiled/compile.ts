/**
 * Makes a compiled step from an eager one, for batches of one shape, or says why there can be none. A compiled step has
 * the eager step's bits, or it is not used: so whether a worker compiles a shape cannot show in the weights.
 */
import type { Batch } from '../../../src/job/dataset.js';
import { toLockstepError } from '../../../src/errors.js';
import { sizeOf } from '../../../src/state/parameter.js';
import type { Tfjs } from '../engine/tfjs.js';
import { nodeBackend } from '../node-backend.js';
import type { Measurements, SlotOutputs, SlotStep, StepKey } from '../step.js';
import { asItIs } from '../contribution.js';
import { collectGarbage } from '../garbage.js';
import type { NativeAddon } from '../engine/native-addon.js';
import { CompiledGraph } from './compiled-graph.js';
import { firstDifference } from './record.js';
import { recordPass, type Recording } from './recorder.js';
import { sameBits, shiftRows } from './same-bits.js';
import { NativeGraph } from './native-graph.js';
import type { StepGraph } from './step-graph.js';
import { feedOf } from './step-values.js';

export type Compilation = { readonly graph: StepGraph } | { readonly reason: string };

export interface CompileOptions {
  readonly tf: Tfjs;
  readonly step: SlotStep;
  readonly batch: Batch;
  readonly key: StepKey;
  /** Lockstep's addon, which runs the graph; `null` for tfjs-node's. */
  readonly addon: NativeAddon | null;
}

/** @throws what the eager step throws on this batch */
export function compile(options: CompileOptions): Compilation {
  const backend = nodeBackend(options.tf);
  if (backend === undefined)
    return { reason: `graphs need TensorFlow, and the backend is "${options.tf.getBackend()}"` };
  const recording = recordTwice(options);
  if ('reason' in recording) return recording;
  let graph: StepGraph | undefined;
  try {
    const context = { binding: backend.binding, numMetrics: options.step.metricNames.length };
    const { record } = recording;
    graph = options.addon
      ? NativeGraph.load(record, { ...context, addon: options.addon })
      : CompiledGraph.load(record, context);
    const reason = check(graph, options);
    if (reason === null) return { graph };
    graph.dispose();
    return { reason };
  } catch (error) {
    graph?.dispose();
    return { reason: `TensorFlow refuses its graph: ${toLockstepError(error).message}` };
  }
}

/** Whatever differs between two passes that differ in key and rows alone would be frozen into the graph. */
function recordTwice({ tf, step, batch, key }: CompileOptions): Recording {
  const first = recordPass(tf, (observer) => step.trace(batch, key, observer));
  if ('reason' in first) return first;
  const second = recordPass(tf, (observer) => step.trace(otherRows(batch), otherKey(key), observer));
  if ('reason' in second) return second;
  const reason = firstDifference(first.record, second.record);
  return reason === null ? first : { reason };
}

function otherKey({ seed, step, slot }: StepKey): StepKey {
  return { seed, step: step + 1, slot: slot + 1 };
}

function otherRows({ x, y }: Batch): Batch {
  return { x: shiftRows(x), y: shiftRows(y) };
}

/** The graph has the eager step's bits on both batches; otherwise, in words, where it has not. */
function check(graph: StepGraph, { step, batch, key }: CompileOptions): string | null {
  const [expected, found] = [makeOutputs(step), makeOutputs(step)]; // for both batches: each is as large as the model
  for (const [rows, itsKey] of [
    [batch, key],
    [otherRows(batch), otherKey(key)],
  ] as const) {
    const eager = step.gradient(rows, itsKey, expected);
    const compiled = graph.run(feedOf(step, rows, itsKey), found, asItIs);
    collectGarbage(); // the eager step's gradients, which were read into fresh memory
    const difference = outputDifference(step, { ...eager, ...expected }, { ...compiled, ...found });
    if (difference !== null) return difference;
  }
  return null;
}

function makeOutputs({ parameters }: SlotStep): SlotOutputs {
  const arrays = (trainable: boolean): Float32Array[] =>
    parameters
      .filter((one) => one.trainable === trainable && one.frozen !== true)
      .map(({ shape }) => new Float32Array(sizeOf(shape)));
  return { gradients: arrays(true), state: arrays(false) };
}

type Outcome = Measurements & SlotOutputs;

function outputDifference({ parameters, metricNames }: SlotStep, eager: Outcome, compiled: Outcome): string | null {
  const scalars = ({ loss, metrics }: Outcome) => [loss, ...metrics].map((value) => Float32Array.of(value));
  const arrays = (outcome: Outcome) => [...scalars(outcome), ...outcome.gradients, ...outcome.state];
  const named = (trainable: boolean): string[] =>
    parameters.filter((one) => one.trainable === trainable && one.frozen !== true).map(({ name }) => name);
  const names = [
    'the loss',
    ...metricNames.map((name) => `the metric ${name}`),
    ...named(true).map((name) => `the gradient of ${name}`),
    ...named(false).map((name) => `the state ${name}`),
  ];
  const found = arrays(compiled);
  const differs = arrays(eager).findIndex((values, index) => !sameBits(values, found[index]));
  return differs < 0 ? null : `${names[differs] ?? 'an output'} does not have the bits of the eager step`;
}
