/**
 * A record as a graph of tfjs-node's own addon: tensors go in and out by the addon's numbers, and none stays behind. Its
 * results come back in fresh memory; `NativeGraph` is faster, where Lockstep's addon could be built.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from '../../../src/errors.js';
import {
  typeNumbers,
  type HandleValues,
  type NodeBinding,
  type TensorHandle,
  type TypeNumber,
} from '../node-backend.js';
import { contribute, type Contribution } from '../contribution.js';
import type { Measurements, SlotOutputs } from '../step.js';
import { encodeSavedModel, endpointName, graphTag } from './graph-def.js';
import { mergeConstants, type Constant, type PassRecord, type Placeholder } from './record.js';
import type { Feed, StepGraph } from './step-graph.js';

export interface CompiledGraphContext {
  readonly binding: NodeBinding;
  readonly numMetrics: number;
}

export class CompiledGraph implements StepGraph {
  readonly #binding: NodeBinding;
  readonly #model: number;
  readonly #placeholders: readonly Placeholder[];
  /** The addon's numbers of the constants' tensors, which stay there between runs. */
  readonly #constants: readonly number[];
  readonly #inputNames: string;
  readonly #outputNames: string;
  readonly #numFetched: number;
  /** For each output of the record, its place among those that are fetched. */
  readonly #places: readonly (number | null)[];
  readonly #numMetrics: number;

  private constructor({ binding, numMetrics }: CompiledGraphContext, model: number, { nodes, outputs }: PassRecord) {
    this.#binding = binding;
    this.#numMetrics = numMetrics;
    this.#model = model;
    const placeholders = nodes.flatMap((node, index) => (node.kind === 'placeholder' ? [{ node, index }] : []));
    const constants = nodes.flatMap((node, index) => (node.kind === 'constant' ? [{ node, index }] : []));
    this.#placeholders = placeholders.map(({ node }) => node);
    this.#constants = constants.map(({ node }) => createConstant(binding, node));
    this.#inputNames = [...placeholders, ...constants].map(({ index }) => firstOutput(index)).join(',');
    const fetched = [...new Set(outputs.flatMap((output) => (output ? [endpointName(output)] : [])))];
    this.#outputNames = fetched.join(',');
    this.#numFetched = fetched.length;
    this.#places = outputs.map((output) => output && fetched.indexOf(endpointName(output)));
  }

  /**
   * @param given none of its outputs is a placeholder: TensorFlow does not give back what it is given
   * @throws Error in TensorFlow's words, where it refuses the graph
   */
  static load(given: PassRecord, context: CompiledGraphContext): CompiledGraph {
    const { binding } = context;
    const record = mergeConstants(given);
    const directory = mkdtempSync(join(tmpdir(), 'lockstep-step-'));
    try {
      mkdirSync(join(directory, 'variables'));
      writeFileSync(join(directory, 'saved_model.pb'), encodeSavedModel(record, binding));
      return new CompiledGraph(context, binding.loadSavedModel(directory, graphTag), record);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }

  run(feed: Feed, outputs: SlotOutputs, contribution: Contribution): Measurements {
    const measured: number[] = [];
    const targets = [...outputs.gradients, ...outputs.state];
    this.#fetch(feed, (output, values) => {
      if (output <= this.#numMetrics) measured.push(firstOf(values));
      else write(targets[output - this.#numMetrics - 1], values, contribution);
    });
    const [loss = NaN, ...metrics] = measured;
    return { loss, metrics };
  }

  /** `take` gets the values of each output of the record, in order, fresh from TensorFlow. */
  #fetch(feed: Feed, take: (output: number, values: HandleValues | null) => void): void {
    const inputs: number[] = [];
    let outputs: readonly TensorHandle[] = [];
    try {
      for (const placeholder of this.#placeholders) {
        inputs.push(this.#binding.createTensor(placeholder.shape, placeholder.dtype, feed(placeholder)));
      }
      const allInputs = [...inputs, ...this.#constants];
      outputs = this.#binding.runSavedModel(this.#model, allInputs, this.#inputNames, this.#outputNames);
      assert(outputs.length === this.#numFetched, `A graph gave ${outputs.length} outputs of ${this.#numFetched}`);
      this.#places.forEach((place, output) => take(output, this.#read(outputs, place)));
    } finally {
      for (const id of inputs) this.#binding.deleteTensor(id);
      for (const { id } of outputs) this.#binding.deleteTensor(id);
    }
  }

  dispose(): void {
    for (const id of this.#constants) this.#binding.deleteTensor(id);
    this.#binding.deleteSavedModel(this.#model);
  }

  #read(outputs: readonly TensorHandle[], place: number | null): HandleValues | null {
    const handle = place === null ? undefined : outputs[place];
    return handle === undefined ? null : this.#binding.tensorDataSync(handle.id);
  }
}

function firstOf(values: HandleValues | null): number {
  const first = values?.[0];
  return typeof first === 'number' ? first : NaN;
}

function write(target: Float32Array | undefined, values: HandleValues | null, contribution: Contribution): void {
  assert(target, 'A compiled step has more outputs than places for them');
  assert(values === null || values instanceof Float32Array, 'A gradient or a state of a compiled step is not float32');
  contribute(target, values, contribution);
}

function firstOutput(index: number): string {
  return endpointName({ node: index, output: 0 });
}

function createConstant(binding: NodeBinding, { shape, dtype, bytes }: Constant): number {
  assert(bytes, 'A constant without values is in a graph');
  return binding.createTensor(shape, dtype, typedArray(bytes, dtype));
}

/** As the addon takes values of a type: 64-bit integers as pairs of 32 bits, complex numbers as pairs of floats. */
function typedArray({ buffer, byteOffset, byteLength }: Uint8Array, dtype: TypeNumber): HandleValues {
  if (dtype === typeNumbers.bool) return new Uint8Array(buffer, byteOffset, byteLength);
  const isFloat = dtype === typeNumbers.float32 || dtype === typeNumbers.complex64;
  const numWords = byteLength / 4;
  return isFloat ? new Float32Array(buffer, byteOffset, numWords) : new Int32Array(buffer, byteOffset, numWords);
}
