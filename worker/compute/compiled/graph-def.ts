/**
 * A record as a GraphDef, alone or in a SavedModel (the bytes of `saved_model.pb`). Field numbers are those of
 * tensorflow/core/protobuf/{saved_model,meta_graph}.proto and tensorflow/core/framework/{graph,node_def,attr_value,tensor,
 * tensor_shape}.proto.
 *
 * In a SavedModel constants are placeholders too, and none has a shape: TensorFlow's graph optimizer (Grappler) then has
 * nothing to go by, and the graph has the eager pass's bits. It would turn x / constant into x * (1 / constant), a * x +
 * b * x into (a + b) * x, and so on, and tfjs-node's addon has no way to pass the option that turns it off. A GraphDef
 * alone is for a session of our own, where it is off (session-config.ts), and says all it knows.
 */
import { assert } from '../../../src/errors.js';
import type { AttributeValue, NodeBinding, OpAttribute, TypeNumber } from '../node-backend.js';
import type { Constant, Endpoint, Op, PassRecord, Placeholder } from './record.js';
import { Message } from './wire.js';

/** The tag to load the model by. */
export const graphTag = 'step';

/** A GraphDef's version: what a node's attributes have to look like. 1087 is that of TensorFlow 2.9, which is in every engine. */
const producerVersion = 1087;

/** The name of a record's node in the graph. */
export function nodeName(index: number): string {
  return `n${index}`;
}

/** As nodes and `runSavedModel` name an output. */
export function endpointName({ node, output }: Pick<Endpoint, 'node' | 'output'>): string {
  return `${nodeName(node)}:${output}`;
}

/** A GraphDef with the constants in it. */
export function encodeGraph(record: PassRecord, binding: NodeBinding): Uint8Array {
  return graphOf(record, binding, encodeKnown).encode();
}

/** The content of `saved_model.pb`. */
export function encodeSavedModel(record: PassRecord, binding: NodeBinding): Uint8Array {
  const graph = graphOf(record, binding, encodeUnknown);
  const information = new Message().bytes(4, graphTag).bytes(5, binding.TF_Version);
  return new Message().integer(1, 1).message(2, new Message().message(1, information).message(2, graph)).encode();
}

type EncodeValue = (name: string, node: Placeholder | Constant) => Message;

function graphOf({ nodes }: PassRecord, binding: NodeBinding, encodeValue: EncodeValue): Message {
  const graph = new Message();
  nodes.forEach((node, index) => {
    const name = nodeName(index);
    graph.message(1, node.kind === 'op' ? encodeOp(name, node, binding) : encodeValue(name, node));
  });
  return graph.message(4, new Message().integer(1, producerVersion));
}

function encodeOp(name: string, node: Op, binding: NodeBinding): Message {
  const message = startNode(name, node.name);
  for (const input of node.inputs) message.bytes(3, endpointName(input));
  const attributes = node.attributes.map((attribute) => [attribute.name, encodeAttribute(attribute, binding)]);
  return addAttributes(message, Object.fromEntries(attributes) as Record<string, Message>);
}

const encodeUnknown: EncodeValue = (name, { dtype }) =>
  addAttributes(startNode(name, 'Placeholder'), {
    dtype: typeAttribute(dtype),
    shape: new Message().message(7, new Message().integer(3, true)),
  });

const encodeKnown: EncodeValue = (name, node) => {
  const [dtype, shape] = [typeAttribute(node.dtype), encodeShape(node.shape)];
  if (node.kind === 'placeholder')
    return addAttributes(startNode(name, 'Placeholder'), { dtype, shape: new Message().message(7, shape) });
  assert(node.bytes, 'A constant without values is in a graph');
  const tensor = new Message().integer(1, node.dtype).message(2, shape).bytes(4, node.bytes);
  return addAttributes(startNode(name, 'Const'), { dtype, value: new Message().message(8, tensor) });
};

function startNode(name: string, op: string): Message {
  return new Message().bytes(1, name).bytes(2, op);
}

function addAttributes(node: Message, attributes: Readonly<Record<string, Message>>): Message {
  for (const [name, value] of Object.entries(attributes)) {
    node.message(5, new Message().bytes(1, name).message(2, value));
  }
  return node;
}

function typeAttribute(dtype: TypeNumber): Message {
  return new Message().integer(6, dtype);
}

function encodeShape(shape: readonly number[]): Message {
  const message = new Message();
  for (const extent of shape) message.message(2, new Message().integer(1, extent));
  return message;
}

/** An array becomes a list, as in the addon. */
function encodeAttribute({ type, value }: OpAttribute, binding: NodeBinding): Message {
  const message = new Message();
  if (type === binding.TF_ATTR_SHAPE) return message.message(7, encodeShape(value as readonly number[]));
  if (!Array.isArray(value))
    return encodeScalar(message, type, value as Exclude<AttributeValue, readonly unknown[]>, binding);
  const list = new Message();
  for (const element of value as readonly (number | boolean)[]) encodeScalar(list, type, element, binding);
  return message.message(1, list);
}

/** AttrValue and its ListValue have the same field numbers for these. */
function encodeScalar(message: Message, type: number, value: number | boolean | string, binding: NodeBinding): Message {
  switch (type) {
    case binding.TF_ATTR_STRING:
      return message.bytes(2, String(value));
    case binding.TF_ATTR_INT:
      return message.integer(3, Math.trunc(Number(value)));
    case binding.TF_ATTR_FLOAT:
      return message.float(4, Number(value));
    case binding.TF_ATTR_BOOL:
      return message.integer(5, Boolean(value));
    case binding.TF_ATTR_TYPE:
      return message.integer(6, Number(value));
    default:
      throw new TypeError(`An attribute has the type ${type}, which no kernel of tfjs-node 4.22 uses`);
  }
}
