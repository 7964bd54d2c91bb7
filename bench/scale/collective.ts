/**
 * The collective that workers run, as the simulation needs it: the real plan and the real state machine, with each effect
 * turned into work that costs time. The only file here that knows events and effects.
 */
import {
  allReduce,
  beginAllReduce,
  waiting,
  type AllReduceEffect,
  type AllReduceEvent,
  type AllReducePlan,
  type AllReduceState,
} from '../../src/collective/all-reduce.js';
import { planLayout, type Layout } from '../../src/state/layout.js';
import { planAllReduce } from '../../worker/comm/generation-run.js';

const floatBytes = 4;

export type Send = Extract<AllReduceEffect, { type: 'send-partial' | 'send-reduced' }>;

/** One thing that a comm thread does. */
export type Work =
  | { readonly type: 'send'; readonly send: Send; readonly payloadBytes: number }
  | { readonly type: 'sum'; readonly bucket: number; readonly numBytes: number }
  | { readonly type: 'apply'; readonly bucket: number; readonly numBytes: number }
  | { readonly type: 'commit'; readonly step: number };

/** A frame as its receiver takes it. */
export type Arrival = Exclude<AllReduceEvent, { type: 'ready' }>;

export interface CollectiveOptions {
  readonly numWorkers: number;
  readonly workersPerHost: number;
  /** Bytes of gradients; a multiple of 64. */
  readonly numBytes: number;
  readonly bucketBytes: number;
}

/** One generation: each worker holds one slot. */
export class Collective {
  readonly numWorkers: number;
  readonly numBuckets: number;
  /** The plan of rank 0; those of the others differ by the rank alone. */
  readonly plan: AllReducePlan;
  readonly #workersPerHost: number;

  constructor({ numWorkers, workersPerHost, numBytes, bucketBytes }: CollectiveOptions) {
    const workers = Array.from({ length: numWorkers }, (_, rank) => {
      const host = `host${Math.floor(rank / workersPerHost)}`;
      const addresses = { hostId: host, unixPath: null, tcp: [] };
      return { workerId: `w${rank}`, rank, host, firstSlot: rank, endSlot: rank + 1, addresses };
    });
    const generation = { generation: 1, workers };
    this.numWorkers = numWorkers;
    this.#workersPerHost = workersPerHost;
    this.plan = planAllReduce({ generation, rank: 0, slots: numWorkers, layout: flatLayout(numBytes), bucketBytes });
    this.numBuckets = this.plan.buckets.length;
  }

  member(rank: number): Member {
    return new Member({ ...this.plan, rank });
  }

  /** Every host does the same as any other, so that one can stand for all. */
  get isSymmetric(): boolean {
    const numPerHost = this.#workersPerHost;
    if (this.numWorkers % numPerHost !== 0) return false;
    const { buckets, nodesByRank } = this.plan;
    const nodesAlike = nodesByRank.every((nodes, rank) => nodes.length === nodesByRank[rank % numPerHost]?.length);
    const chunksAlike = buckets.every(({ chunks }) =>
      chunks.every(({ elements }, rank) => elements === chunks[rank % numPerHost]?.elements),
    );
    return nodesAlike && chunksAlike;
  }

  /**
   * What the receiver of a frame learns.
   *
   * @param sender rank that sent it
   * @param from rank that it comes from in the receiver's eyes: another than `sender` where one host stands for all
   */
  arrival(send: Send, step: number, sender: number, from: number): Arrival {
    const { bucket } = send;
    if (send.type === 'send-reduced') return { type: 'reduced', from, step, bucket };
    const nodes = this.plan.nodesByRank;
    const index = nodes[sender]?.findIndex(({ id }) => id === send.node.id) ?? 0;
    const node = sender === from ? send.node : (nodes[from]?.[index] ?? send.node);
    return { type: 'partial', from, step, bucket, node: node.id };
  }
}

/** One worker's machine. */
export class Member {
  readonly #plan: AllReducePlan;
  #state: AllReduceState;

  constructor(plan: AllReducePlan) {
    this.#plan = plan;
    this.#state = beginAllReduce(plan, 0);
  }

  /** The step that is not committed yet. */
  get step(): number {
    return this.#state.step;
  }

  /** Why it is not committed. */
  get waiting(): string | null {
    return waiting(this.#plan, this.#state);
  }

  ready(step: number, bucket: number): Work[] {
    return this.#take({ type: 'ready', step, bucket });
  }

  receive(arrival: Arrival): Work[] {
    return this.#take(arrival);
  }

  #take(event: AllReduceEvent): Work[] {
    const { state, effects } = allReduce(this.#plan, this.#state, event);
    this.#state = state;
    return effects.map((effect) => this.#work(effect));
  }

  #work(effect: AllReduceEffect): Work {
    const { rank, nodesByRank } = this.#plan;
    switch (effect.type) {
      case 'send-partial':
        return { type: 'send', send: effect, payloadBytes: this.#chunkBytes(effect.bucket, effect.to) };
      case 'send-reduced':
        return { type: 'send', send: effect, payloadBytes: this.#chunkBytes(effect.bucket, rank) };
      case 'sum': {
        const numAdditions = nodesByRank.reduce((sum, nodes) => sum + nodes.length, 0) - 1;
        const { bucket } = effect;
        return { type: 'sum', bucket, numBytes: numAdditions * this.#chunkBytes(bucket, rank) };
      }
      case 'apply': {
        const { bucket } = effect;
        return { type: 'apply', bucket, numBytes: (this.#plan.buckets[bucket]?.trainableElements ?? 0) * floatBytes };
      }
      case 'commit':
        return effect;
    }
  }

  #chunkBytes(bucket: number, rank: number): number {
    return (this.#plan.buckets[bucket]?.chunks[rank]?.elements ?? 0) * floatBytes;
  }
}

/** Parameters of 16 MiB at most, all trainable, and nothing else. */
export function flatLayout(numBytes: number): Layout {
  const numElements = numBytes / floatBytes;
  const most = 2 ** 22;
  const parameters = Array.from({ length: Math.ceil(numElements / most) }, (_, i) => ({
    name: `p${i}`,
    shape: [Math.min(most, numElements - i * most)],
    trainable: true,
  }));
  return planLayout(parameters, 0);
}
