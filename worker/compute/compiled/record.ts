/** A record of a training pass: a graph of TensorFlow ops, in the order in which they ran. Plain data. */
import type { OpAttribute, TypeNumber } from '../node-backend.js';

/** An output of a node. */
export interface Endpoint {
  /** Index into the record's nodes; smaller than that of any node that uses it. */
  readonly node: number;
  readonly output: number;
  readonly dtype: TypeNumber;
}

/** What each step gives anew: a parameter, the batch, or the seed of a random op. */
export interface Placeholder {
  readonly kind: 'placeholder';
  readonly role: 'weight' | 'inputs' | 'labels' | 'seed';
  /** Position among those of its role; of a seed, its place in the pass. */
  readonly index: number;
  readonly dtype: TypeNumber;
  readonly shape: readonly number[];
}

/** A tensor whose values are part of the record. */
export interface Constant {
  readonly kind: 'constant';
  readonly dtype: TypeNumber;
  readonly shape: readonly number[];
  /** Little-endian. `null` where a graph cannot hold them (strings). */
  readonly bytes: Uint8Array | null;
}

export interface Op {
  readonly kind: 'op';
  readonly name: string;
  readonly attributes: readonly OpAttribute[];
  readonly inputs: readonly Endpoint[];
}

export type RecordedNode = Placeholder | Constant | Op;

export interface PassRecord {
  readonly nodes: readonly RecordedNode[];
  /** Loss, metrics, gradients, assigned state. `null` for a gradient that there is none of. */
  readonly outputs: readonly (Endpoint | null)[];
}

/** The same record with only the nodes that an output needs, in the same order. */
export function prune({ nodes, outputs }: PassRecord): PassRecord {
  const needed = new Set<number>();
  const pending = outputs.flatMap((output) => (output ? [output.node] : []));
  for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
    if (needed.has(index)) continue;
    needed.add(index);
    const node = nodes[index];
    if (node?.kind === 'op') pending.push(...node.inputs.map((input) => input.node));
  }
  const kept = [...needed].sort((a, b) => a - b);
  const places = new Map(kept.map((old, place) => [old, place]));
  const move = (endpoint: Endpoint): Endpoint => ({ ...endpoint, node: places.get(endpoint.node) ?? -1 });
  return {
    nodes: kept.flatMap((index) => {
      const node = nodes[index];
      if (node === undefined) return [];
      return [node.kind === 'op' ? { ...node, inputs: node.inputs.map(move) } : node];
    }),
    outputs: outputs.map((output) => output && move(output)),
  };
}

/** The same record with equal constants made one: recurrent layers have the same few for each time step. */
export function mergeConstants({ nodes, outputs }: PassRecord): PassRecord {
  const first = new Map<string, number>();
  const places = nodes.map((node, index) => {
    if (node.kind !== 'constant' || node.bytes === null) return index;
    const values = Buffer.from(node.bytes.buffer, node.bytes.byteOffset, node.bytes.byteLength).toString('latin1');
    const content = `${node.dtype} [${String(node.shape)}] ${values}`;
    const place = first.get(content) ?? index;
    first.set(content, place);
    return place;
  });
  const move = (endpoint: Endpoint): Endpoint => ({ ...endpoint, node: places[endpoint.node] ?? endpoint.node });
  return prune({
    nodes: nodes.map((node) => (node.kind === 'op' ? { ...node, inputs: node.inputs.map(move) } : node)),
    outputs: outputs.map((output) => output && move(output)),
  });
}

/** In words, the first place where two records differ; `null` where they are the same. */
export function firstDifference(a: PassRecord, b: PassRecord): string | null {
  for (let index = 0; index < Math.max(a.nodes.length, b.nodes.length); index++) {
    const [left, right] = [a.nodes[index], b.nodes[index]];
    if (left === undefined || right === undefined) {
      return `one pass runs ${a.nodes.length} ops and constants, the next ${b.nodes.length}`;
    }
    const difference = nodeDifference(left, right, userOf(a, index));
    if (difference !== null) return difference;
  }
  return JSON.stringify(a.outputs) === JSON.stringify(b.outputs) ? null : 'two passes give different outputs';
}

function nodeDifference(a: RecordedNode, b: RecordedNode, user: string): string | null {
  if (a.kind === 'constant' && b.kind === 'constant') {
    const same = a.dtype === b.dtype && String(a.shape) === String(b.shape) && sameBytes(a.bytes, b.bytes);
    return same ? null : `a constant of ${user} differs from one pass to the next`;
  }
  if (JSON.stringify(a) === JSON.stringify(b)) return null;
  return `${describeNode(a)} in one pass is ${describeNode(b)} in the next`;
}

function sameBytes(a: Uint8Array | null, b: Uint8Array | null): boolean {
  if (a === null || b === null) return a === b;
  return Buffer.compare(a, b) === 0;
}

function describeNode(node: RecordedNode): string {
  if (node.kind === 'op') return `the op ${node.name}`;
  return node.kind === 'constant' ? 'a constant' : `the ${node.role}`;
}

/** The first op that uses a node. */
export function userOf({ nodes }: PassRecord, index: number): string {
  const user = nodes.find((node) => node.kind === 'op' && node.inputs.some((input) => input.node === index));
  return user?.kind === 'op' ? `the op ${user.name}` : 'the outputs';
}
