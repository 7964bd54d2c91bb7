/**
 * Softmax, spelled out for graphs on a CPU. There oneDNN takes the op over in graphs and not in eager mode, and the bits
 * differ; these six ops are what TensorFlow's own kernel does (tensorflow/core/kernels/softmax_op_functor.h).
 */
import { typeNumbers, type NodeBinding } from '../node-backend.js';
import type { Constant, Endpoint, Op, PassRecord, RecordedNode } from './record.js';

/** The record with each softmax so spelled. */
export function spellSoftmax({ nodes, outputs }: PassRecord, binding: NodeBinding): PassRecord {
  const spelled: RecordedNode[] = [];
  /** By old index: the new one. */
  const places: number[] = [];
  const move = (endpoint: Endpoint): Endpoint => ({ ...endpoint, node: places[endpoint.node] ?? -1 });
  for (const node of nodes) {
    const moved = node.kind === 'op' ? { ...node, inputs: node.inputs.map(move) } : node;
    spelled.push(
      ...(moved.kind === 'op' && moved.name === 'Softmax' ? spell(moved, spelled.length, binding) : [moved]),
    );
    places.push(spelled.length - 1);
  }
  return { nodes: spelled, outputs: outputs.map((output) => output && move(output)) };
}

/** Nodes from index `first` on; the last is the softmax. */
function spell({ inputs, attributes }: Op, first: number, binding: NodeBinding): RecordedNode[] {
  const [logits] = inputs;
  if (logits === undefined) return [];
  const { dtype } = logits;
  const at = (offset: number): Endpoint => ({ node: first + offset, output: 0, dtype });
  const axis: Constant = {
    kind: 'constant',
    dtype: typeNumbers.int32,
    shape: [1],
    bytes: new Uint8Array(4).fill(0xff),
  };
  const type = attributes.filter(({ name }) => name === 'T');
  const reduction = [
    ...type,
    { name: 'Tidx', type: binding.TF_ATTR_TYPE, value: typeNumbers.int32 },
    { name: 'keep_dims', type: binding.TF_ATTR_BOOL, value: true },
  ];
  const op = (name: string, of: readonly Endpoint[], its = type): Op => ({
    kind: 'op',
    name,
    attributes: its,
    inputs: of,
  });
  const lastAxis = { ...at(0), dtype: typeNumbers.int32 };
  return [
    axis,
    op('Max', [logits, lastAxis], reduction),
    op('Sub', [logits, at(1)]),
    op('Exp', [at(2)]),
    op('Sum', [at(3), lastAxis], reduction),
    op('Reciprocal', [at(4)]),
    op('Mul', [at(3), at(5)]),
  ];
}
