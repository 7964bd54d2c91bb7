/**
 * Records a training pass while it runs eagerly. It stands between tfjs-node's backend and its addon, where every op of
 * every kernel passes: the addon numbers each tensor once, so views, clones and shared data need no thought here. Tensors
 * that come from outside of the pass become constants.
 */
import type { Tensor } from '@tensorflow/tfjs';
import { assert } from '../../../src/errors.js';
import type { Tfjs } from '../engine/tfjs.js';
import {
  nodeBackend,
  type HandleValues,
  type NodeBackend,
  type NodeBinding,
  type OpAttribute,
} from '../node-backend.js';
import type { PassObserver, PassResults } from '../pass.js';
import { prune, userOf, type Endpoint, type PassRecord, type Placeholder, type RecordedNode } from './record.js';

/** Either a record, or why there can be none. */
export type Recording = { readonly record: PassRecord } | { readonly reason: string };

/** A node while it is recorded; constants are copied only if the pass needs them. */
interface Draft {
  node: RecordedNode;
  values?: HandleValues;
  /** Whether it follows from what differs between steps. */
  varies: boolean;
}

/** @param trace runs one pass with the given observer */
export function recordPass(tf: Tfjs, trace: (observer: PassObserver<Recording>) => Recording): Recording {
  const backend = nodeBackend(tf);
  if (backend === undefined) return { reason: `the backend is "${tf.getBackend()}", which has no graphs` };
  return new Recorder(tf, backend).run(trace);
}

class Recorder {
  readonly #tf: Tfjs;
  readonly #backend: NodeBackend;
  readonly #binding: NodeBinding;
  readonly #drafts: Draft[] = [];
  /** By the addon's number of the tensor. */
  readonly #endpoints = new Map<number, Endpoint>();
  #reason: string | null = null;

  constructor(tf: Tfjs, backend: NodeBackend) {
    this.#tf = tf;
    this.#backend = backend;
    this.#binding = backend.binding;
  }

  run(trace: (observer: PassObserver<Recording>) => Recording): Recording {
    const backend = this.#backend;
    const engine = this.#tf.engine();
    const toIds = backend.getInputTensorIds.bind(backend);
    const [readSync, read] = [engine.readSync.bind(engine), engine.read.bind(engine)];
    // As members of these two objects, in front of their classes' own.
    const watched = {
      getInputTensorIds: (tensors: readonly unknown[]) => this.#meet(tensors, toIds(tensors)),
    } satisfies Partial<NodeBackend>;
    const reads = {
      readSync: (dataId: object) => (this.#noteRead(dataId), readSync(dataId)),
      read: (dataId: object) => (this.#noteRead(dataId), read(dataId)),
    };
    Object.assign(backend, watched, { binding: this.#watchedBinding() });
    Object.assign(engine, reads);
    try {
      return trace(this.#observer());
    } finally {
      backend.binding = this.#binding;
      Reflect.deleteProperty(backend, 'getInputTensorIds');
      for (const name of Object.keys(reads)) Reflect.deleteProperty(engine, name);
    }
  }

  #observer(): PassObserver<Recording> {
    return {
      begin: ({ inputs, labels, weights }) => {
        weights.forEach((weight, index) => this.#placeholder(weight, 'weight', index));
        this.#placeholder(inputs, 'inputs', 0);
        this.#placeholder(labels, 'labels', 0);
      },
      onSeed: (seed, index) => this.#placeholder(seed, 'seed', index),
      onHostRandom: () =>
        (this.#reason ??= 'it draws random numbers on the host (Math.random, or a tfjs function on it)'),
      end: (results) => this.#finish(results),
    };
  }

  /** The addon, with what reaches it written down. */
  #watchedBinding(): NodeBinding {
    const binding = this.#binding;
    const watched: Partial<NodeBinding> = {
      createTensor: (shape, dtype, values) => {
        const id = binding.createTensor(shape, dtype, values);
        const node = { kind: 'constant', dtype, shape: [...shape], bytes: null } as const;
        this.#endpoints.set(id, { node: this.#add({ node, values, varies: false }), output: 0, dtype });
        return id;
      },
      executeOp: (name, attributes, ids, numOutputs) => {
        const outputs = binding.executeOp(name, attributes, ids, numOutputs);
        const inputs = ids.map((id) => this.#endpoint(id));
        const varies = inputs.some((input) => this.#drafts[input.node]?.varies);
        const typed = correctType(name, attributes, inputs, binding);
        const node = this.#add({ node: { kind: 'op', name, attributes: typed, inputs }, varies });
        outputs.forEach(({ id, dtype }, output) => this.#endpoints.set(id, { node, output, dtype }));
        return outputs;
      },
    };
    // The addon's numbers and other functions are found behind these; its own are read-only, so they are not assigned to.
    return Object.create(binding, Object.getOwnPropertyDescriptors(watched)) as NodeBinding;
  }

  #add(draft: Draft): number {
    return this.#drafts.push(draft) - 1;
  }

  #endpoint(id: number): Endpoint {
    const endpoint = this.#endpoints.get(id);
    assert(endpoint, `A kernel used tensor ${id}, which the recording has not met`);
    return endpoint;
  }

  /** Tensors that were there before the pass are met when an op first uses them. */
  #meet(tensors: readonly unknown[], ids: number[]): number[] {
    ids.forEach((id, index) => {
      if (this.#endpoints.has(id)) return;
      const { dataId } = tensors[index] as Tensor; // What is not a tensor (Int64Scalar) was made in this call.
      const data = this.#backend.tensorMap.get(dataId);
      assert(data, `Tensor ${id} has no data`);
      const { dtype, shape } = data;
      const node = { kind: 'constant', dtype, shape: [...shape], bytes: null } as const;
      const values = this.#binding.tensorDataSync(id);
      this.#endpoints.set(id, { node: this.#add({ node, values, varies: false }), output: 0, dtype });
    });
    return ids;
  }

  #placeholder(tensor: Tensor, role: Placeholder['role'], index: number): void {
    const { node, dtype } = this.#endpointOf(tensor);
    const draft = this.#drafts[node];
    assert(draft, `Node ${node} is not in the recording`);
    draft.node = { kind: 'placeholder', role, index, dtype, shape: [...tensor.shape] };
    draft.varies = true;
  }

  /** TensorFlow does not give back what it is given: a placeholder goes through an Identity. */
  #output(tensor: Tensor): Endpoint {
    const endpoint = this.#endpointOf(tensor);
    if (this.#drafts[endpoint.node]?.node.kind !== 'placeholder') return endpoint;
    const attributes = [{ name: 'T', type: this.#binding.TF_ATTR_TYPE, value: endpoint.dtype }];
    const node = this.#add({ node: { kind: 'op', name: 'Identity', attributes, inputs: [endpoint] }, varies: true });
    return { node, output: 0, dtype: endpoint.dtype };
  }

  #endpointOf(tensor: Tensor): Endpoint {
    const [id] = this.#backend.getInputTensorIds([tensor]);
    assert(id !== undefined, 'A tensor has no number');
    return this.#endpoint(id);
  }

  /** What the model or the loss reads back, it may act on: a graph could not follow. */
  #noteRead(dataId: object): void {
    const id = this.#backend.tensorMap.get(dataId)?.id;
    const node = id === undefined ? undefined : this.#endpoints.get(id)?.node;
    if (node === undefined || this.#drafts[node]?.varies !== true) return;
    this.#reason ??= 'it reads values of the batch or of the weights on the host (dataSync, data or array)';
  }

  #finish({ loss, metrics, gradients, state }: PassResults): Recording {
    const outputs = [loss, ...metrics, ...gradients, ...state];
    const endpoints = outputs.map((tensor) => (tensor === undefined ? null : this.#output(tensor)));
    if (this.#reason !== null) return { reason: this.#reason };
    const { nodes, outputs: kept } = prune({
      nodes: this.#drafts.map((_, index) => this.#node(index)),
      outputs: endpoints,
    });
    const record = { nodes: nodes.map(copyValues), outputs: kept };
    const unknown = nodes.findIndex((node) => node.kind === 'constant' && node.bytes === null);
    if (unknown >= 0) return { reason: `${userOf(record, unknown)} takes a constant of strings` };
    return { record };
  }

  #node(index: number): RecordedNode {
    const draft = this.#drafts[index];
    assert(draft, `Node ${index} is not in the recording`);
    const { node, values } = draft;
    if (node.kind !== 'constant' || !ArrayBuffer.isView(values)) return node;
    return { ...node, bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
  }
}

/** Ops whose type tfjs-node leaves to TensorFlow to find. */
const untyped = new Set(['ExpandDims']);

/**
 * tfjs-node leaves out a few ops' type, and says `bool` for the mean of what it has made float32. An eager op takes its
 * type from its inputs all the same; a graph takes it at its word.
 */
function correctType(
  name: string,
  attributes: readonly OpAttribute[],
  inputs: readonly Endpoint[],
  binding: NodeBinding,
): readonly OpAttribute[] {
  const [first] = inputs;
  if (first === undefined) return attributes;
  const right = { name: 'T', type: binding.TF_ATTR_TYPE, value: first.dtype };
  if (untyped.has(name)) return [...attributes, right];
  const fits = ({ value }: OpAttribute) => inputs.some(({ dtype }) => dtype === value);
  return attributes.map((attribute) => (attribute.name !== 'T' || fits(attribute) ? attribute : right));
}

/** A record outlives the memory that its constants came from. */
function copyValues(node: RecordedNode): RecordedNode {
  return node.kind === 'constant' && node.bytes !== null ? { ...node, bytes: node.bytes.slice() } : node;
}
