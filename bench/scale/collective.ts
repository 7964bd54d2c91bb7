/**
 * The collective that workers run, as the simulation needs it: the real plan and the real state machine, with each effect
 * turned into work that costs time. The only file here that knows events and effects.
 */
import { AllReduce } from '../../src/collective/all-reduce.js';
import type { AllReduceEffect } from '../../src/collective/events.js';
import type { AllReducePlan, Chunk, RoutedBucket } from '../../src/collective/plan.js';
import { coveringNodes, type TreeNode } from '../../src/collective/tree.js';
import { partialPayload, payloadBytes, resultPayload, trainableIn } from '../../src/collective/payload.js';
import { waiting } from '../../src/collective/waiting.js';
import type { Generation } from '../../src/protocol/messages.js';
import { adam, type OptimizerConfig } from '../../src/optimizer/config.js';
import { planLayout, type Layout } from '../../src/state/layout.js';
import { planGeneration } from '../../worker/comm/generation-plan.js';

const floatBytes = 4;

/** What the header of a frame says. */
export interface Message {
  readonly type: 'partial' | 'result';
  readonly step: number;
  readonly bucket: number;
  readonly chunk: number;
  /** Of a partial. */
  readonly node: number;
}

/** One thing that a comm thread does. */
export type Work =
  | { readonly type: 'send'; readonly to: number; readonly message: Message; readonly payloadBytes: number }
  /** Additions, of a whole sum or of what a host sends on; `numBytes` is what they write. */
  | { readonly type: 'sum' | 'combine'; readonly bucket: number; readonly chunk: number; readonly numBytes: number }
  /** The optimizer: of the chunk that this worker owns, before its result is sent; or of all, at the commit. */
  | { readonly type: 'advance' | 'apply'; readonly numBytes: number }
  /** Of new weights that owners made. */
  | { readonly type: 'copy'; readonly numBytes: number }
  | { readonly type: 'commit'; readonly step: number };

export interface CollectiveOptions {
  readonly numWorkers: number;
  readonly workersPerHost: number;
  /** Bytes of gradients; a multiple of 4. */
  readonly numBytes: number;
  readonly bucketBytes: number;
  /** Flat: the plan takes each worker for a host of its own. */
  readonly levels: 'flat' | 'two-level';
  /** Moments are shared out: the owner of a chunk makes its new weights. @default false */
  readonly isSharded?: boolean;
}

/** One generation: each worker holds one slot. */
export class Collective {
  readonly numWorkers: number;
  readonly layout: Layout;
  readonly optimizer: OptimizerConfig;
  /** Rank 0's. */
  readonly plan: AllReducePlan;
  readonly #leaves: readonly number[];
  /** By host, the nodes of its workers' slots. */
  readonly #nodesByHost: readonly (readonly number[])[];
  readonly #options: CollectiveOptions;
  readonly #generation: Generation;
  /** By bucket and owner, the chunk's index; -1 where a rank owns none. */
  readonly #chunkOf: readonly Int32Array[];

  constructor(options: CollectiveOptions) {
    const { numWorkers, workersPerHost, numBytes, levels } = options;
    const workers = Array.from({ length: numWorkers }, (_, rank) => {
      const host = `host${levels === 'flat' ? rank : Math.floor(rank / workersPerHost)}`;
      const addresses = { hostId: host, unixPath: null, tcp: [] };
      return { workerId: `w${rank}`, rank, host, firstSlot: rank, endSlot: rank + 1, addresses, step: 0 };
    });
    this.#options = options;
    this.#generation = { generation: 1, step: 0, resumeFrom: null, workers };
    this.numWorkers = numWorkers;
    this.layout = flatLayout(numBytes);
    this.optimizer = adam({ sharded: options.isSharded ?? false });
    this.plan = this.planOf(0);
    const { tree } = this.plan;
    this.#leaves = leavesOf(tree);
    this.#nodesByHost = Array.from({ length: Math.ceil(numWorkers / workersPerHost) }, (_, host) =>
      coveringNodes(tree, host * workersPerHost, (host + 1) * workersPerHost).map(({ id }) => id),
    );
    this.#chunkOf = this.plan.buckets.map(({ chunks }) => {
      const indexes = new Int32Array(numWorkers).fill(-1);
      for (const { owner, index } of chunks) if (owner !== null) indexes[owner] = index;
      return indexes;
    });
  }

  planOf(rank: number): AllReducePlan {
    const { numWorkers, bucketBytes } = this.#options;
    const { layout } = this;
    return planGeneration({
      generation: this.#generation,
      rank,
      slots: numWorkers,
      layout,
      bucketBytes,
      wire: 'float32',
      optimizer: this.optimizer,
      onNotFinite: 'stop',
    });
  }

  /** Every host does the same as any other, so that one can stand for all. */
  get isSymmetric(): boolean {
    const { numWorkers, workersPerHost } = this.#options;
    if (numWorkers % workersPerHost !== 0) return false;
    if (this.#nodesByHost.some(({ length }) => length !== this.#nodesByHost[0]?.length)) return false;
    return this.plan.buckets.every(({ chunks }, bucket) => {
      const sizes = Array.from(this.#chunkOf[bucket] ?? [], (index) => chunks[index]?.elements ?? 0);
      return sizes.every((size, owner) => size === sizes[owner % workersPerHost]);
    });
  }

  /** The twin of a message from `sender`, between ranks that are `shift` lower. */
  lowered(message: Message, sender: number, shift: number): Message {
    const { bucket, chunk: index, type } = message;
    const lower = (rank: number): number => (rank - shift + this.numWorkers) % this.numWorkers;
    const owner = this.plan.buckets[bucket]?.chunks[index]?.owner ?? null;
    const chunk = owner === null ? index : (this.#chunkOf[bucket]?.[lower(owner)] ?? -1);
    const node = type === 'result' ? message.node : this.#twinNode(message.node, sender, lower(sender));
    return { ...message, chunk, node };
  }

  /** The node that one rank sends as another sends `node`: its own, or one of its host's. */
  #twinNode(node: number, sender: number, twin: number): number {
    if (node === this.#leaves[sender]) return this.#leaves[twin] ?? -1;
    const { workersPerHost } = this.#options;
    const index = this.#nodesByHost[Math.floor(sender / workersPerHost)]?.indexOf(node) ?? -1;
    return this.#nodesByHost[Math.floor(twin / workersPerHost)]?.[index] ?? -1;
  }
}

/** One worker's machine. */
export class Member {
  readonly #plan: AllReducePlan;
  readonly #machine: AllReduce;

  constructor(plan: AllReducePlan) {
    this.#plan = plan;
    this.#machine = new AllReduce(plan, 0);
  }

  /** The step that is not committed yet. */
  get step(): number {
    return this.#machine.step;
  }

  get numBuckets(): number {
    return this.#plan.buckets.length;
  }

  /** Why it is not committed. */
  get waiting(): string | null {
    return waiting(this.#plan, this.#machine);
  }

  ready(step: number, bucket: number): Work[] {
    return this.#works(step, this.#machine.take({ type: 'ready', step, bucket }));
  }

  receive(from: number, message: Message): Work[] {
    const { step } = this;
    const before = message.step > step ? this.#machine.take({ type: 'ahead', from }) : [];
    const event = { ...message, from };
    this.#machine.check(event);
    return this.#works(step, [...before, ...this.#machine.take(event)]);
  }

  /** A frame has left. */
  sent(to: number, step: number): Work[] {
    return this.#works(step, this.#machine.take({ type: 'sent', to, step }));
  }

  #works(step: number, effects: readonly AllReduceEffect[]): Work[] {
    return effects.flatMap((effect) => this.#worksOf(step, effect));
  }

  #worksOf(step: number, effect: AllReduceEffect): Work[] {
    switch (effect.type) {
      case 'send-partial':
        return this.#sends(effect, 'partial', step, effect.node.id);
      case 'send-result':
        return this.#sends(effect, 'result', step, 0);
      case 'sum':
        return [this.#sum('sum', effect), ...this.#advance(effect)];
      case 'combine':
        return [this.#sum('combine', effect)];
      case 'complete': // the look at what came is not simulated
      case 'send-squares': // nor is the clipping of a sharded optimizer
      case 'norm':
      case 'advance':
        return [];
      case 'commit':
        return [...this.#update(), effect];
    }
  }

  #sends({ bucket, chunk, to }: Sending, type: Message['type'], step: number, node: number): Work[] {
    const message: Message = { type, step, bucket: bucket.index, chunk: chunk.index, node };
    const payload =
      type === 'partial' ? partialPayload(this.#plan, bucket, chunk, node) : resultPayload(this.#plan, bucket, chunk);
    return to.map((rank) => ({ type: 'send', to: rank, message, payloadBytes: payloadBytes(payload) }));
  }

  /** One addition less than there are partials for each that comes out. */
  #sum(type: 'sum' | 'combine', { bucket, chunk }: Place): Work {
    const { elements, route } = chunk;
    const numIn = this.#plan.ownNodes.length + route.partialsFrom.size;
    const numOut = type === 'sum' ? 1 : route.nodes.length;
    const numBytes = (numIn - numOut) * elements * floatBytes;
    return { type, bucket: bucket.index, chunk: chunk.index, numBytes };
  }

  #advance({ bucket, chunk }: Place): Work[] {
    if (!this.#plan.isSharded) return [];
    return [{ type: 'advance', numBytes: trainableIn(bucket, chunk) * floatBytes }];
  }

  /** The optimizer, and before it the sums of what was exchanged. New weights that owners made are only copied. */
  #update(): Work[] {
    const { buckets } = this.#plan;
    const sums = buckets.flatMap((bucket) =>
      bucket.chunks.filter(({ owner }) => owner === null).map((chunk) => this.#sum('sum', { bucket, chunk })),
    );
    const elements = buckets.reduce((sum, { trainableElements }) => sum + trainableElements, 0);
    return [...sums, { type: this.#plan.isSharded ? 'copy' : 'apply', numBytes: elements * floatBytes }];
  }
}

interface Place {
  readonly bucket: RoutedBucket;
  readonly chunk: Chunk;
}

interface Sending extends Place {
  readonly to: readonly number[];
}

function leavesOf({ id, children }: TreeNode): number[] {
  return children ? children.flatMap((child) => leavesOf(child)) : [id];
}

/** Parameters of 16 MiB at most, all trainable, and nothing else. */
function flatLayout(numBytes: number): Layout {
  const numElements = numBytes / floatBytes;
  const most = 2 ** 22;
  const parameters = Array.from({ length: Math.ceil(numElements / most) }, (_, i) => ({
    name: `p${i}`,
    shape: [Math.min(most, numElements - i * most)],
    trainable: true,
  }));
  return planLayout(parameters, 0);
}
