/** A record as a graph of Lockstep's own addon: it runs between arrays, and the gradients' places are all that it writes. */
import { assert } from '../../../src/errors.js';
import type { Contribution } from '../contribution.js';
import type { NativeAddon, NativeGraphHandle } from '../engine/native-addon.js';
import type { NodeBinding } from '../node-backend.js';
import type { Measurements, SlotOutputs } from '../step.js';
import { encodeGraph, nodeName } from './graph-def.js';
import { mergeConstants, type PassRecord, type Placeholder } from './record.js';
import { encodeSessionConfig } from './session-config.js';
import type { Feed, StepGraph } from './step-graph.js';

export interface NativeGraphContext {
  readonly addon: NativeAddon;
  readonly binding: NodeBinding;
  readonly numMetrics: number;
}

export class NativeGraph implements StepGraph {
  readonly #addon: NativeAddon;
  readonly #handle: NativeGraphHandle;
  readonly #placeholders: readonly Placeholder[];
  /** Loss and metrics of the last run. */
  readonly #scalars: Float32Array;
  readonly #scalarViews: readonly Float32Array[];

  private constructor(
    addon: NativeAddon,
    handle: NativeGraphHandle,
    placeholders: readonly Placeholder[],
    scalars: number,
  ) {
    this.#addon = addon;
    this.#handle = handle;
    this.#placeholders = placeholders;
    this.#scalars = new Float32Array(scalars);
    this.#scalarViews = Array.from(this.#scalars, (_, index) => this.#scalars.subarray(index, index + 1));
  }

  /** @throws Error in TensorFlow's words, where it refuses the graph */
  static load(given: PassRecord, { addon, binding, numMetrics }: NativeGraphContext): NativeGraph {
    const gpu = binding.isUsingGpuDevice();
    const record = mergeConstants(given);
    const placeholders = record.nodes.flatMap((node, index) => (node.kind === 'placeholder' ? [{ node, index }] : []));
    const handle = addon.createGraph({
      graphDef: encodeGraph(record, binding),
      config: encodeSessionConfig({ gpu }),
      feeds: placeholders.map(({ node: { dtype, shape }, index }) => ({ name: nodeName(index), dtype, shape })),
      outputs: record.outputs.map((output) => output && { name: nodeName(output.node), output: output.output }),
      numPlain: 1 + numMetrics,
    });
    return new NativeGraph(
      addon,
      handle,
      placeholders.map(({ node }) => node),
      1 + numMetrics,
    );
  }

  run(feed: Feed, outputs: SlotOutputs, { weight, accumulate, signals }: Contribution): Measurements {
    const feeds = this.#placeholders.map(feed);
    const targets = [...this.#scalarViews, ...outputs.gradients, ...outputs.state];
    this.#addon.runGraph(this.#handle, feeds, targets, weight, accumulate, signals);
    const [loss, ...metrics] = this.#scalars;
    assert(loss !== undefined, 'A graph gave no loss');
    return { loss, metrics };
  }

  dispose(): void {
    this.#addon.closeGraph(this.#handle);
  }
}
