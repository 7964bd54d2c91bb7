/**
 * Carries out what the all-reduce machine decides, on the shared memory and the links: sums, sends, takes frames in, and
 * applies the optimizer. It decides nothing itself.
 */
import { allReduce, beginAllReduce, waiting } from '../../src/collective/all-reduce.js';
import type {
  AllReduceEffect,
  AllReduceEvent,
  AllReducePlan,
  AllReduceState,
} from '../../src/collective/all-reduce.js';
import type { Bucket, Chunk } from '../../src/collective/buckets.js';
import { sumTree } from '../../src/collective/tree-sum.js';
import { depthOf, type TreeNode } from '../../src/collective/tree.js';
import { assert, LockstepError } from '../../src/errors.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import { applyOptimizer, momentRegions } from '../../src/optimizer/optimizer.js';
import { decodeFrameHeader, encodeFrameHeader, frameHeaderBytes, type FrameHeader } from '../../src/protocol/frame.js';
import { PARAMETERS, type FlatMemory } from '../../src/state/memory.js';
import { inboxOffsets, inboxRegion, largestBucket, outboxRegion, slotRegion } from './regions.js';

const floatBytes = 4;

/** Sends one bulk frame to a rank. */
export type SendFrame = (to: number, header: Uint8Array, payload: Uint8Array) => void;

export interface ReductionOptions {
  readonly plan: AllReducePlan;
  readonly tree: TreeNode;
  readonly memory: FlatMemory;
  /** Null: the sums are left in `reduced`. */
  readonly optimizer: OptimizerConfig | null;
  readonly step: number;
  readonly send: SendFrame;
  readonly onCommit: (step: number) => void;
}

export class Reduction {
  readonly #options: ReductionOptions;
  readonly #inboxOffsets: readonly number[];
  #state: AllReduceState;

  constructor(options: ReductionOptions) {
    this.#options = options;
    this.#inboxOffsets = inboxOffsets(options.plan);
    this.#state = beginAllReduce(options.plan, options.step);
  }

  /** The step that is not committed yet, counted from 0. */
  get step(): number {
    return this.#state.step;
  }

  /** Why it is not committed. */
  get waiting(): string | null {
    return waiting(this.#options.plan, this.#state);
  }

  /** The gradients of this worker's slots are in shared memory, in this bucket. */
  onReady(step: number, bucket: number): void {
    this.#take({ type: 'ready', step, bucket }, () => {
      this.#fillOutbox(bucket);
    });
  }

  /** One bulk frame from a peer, in pieces. A frame of an older generation is dropped. */
  onFrame(from: number, fragments: readonly Uint8Array[]): void {
    const { header, payload } = splitFrame(fragments);
    const { generation } = this.#options.plan;
    if (header.generation < generation) return;
    if (header.generation > generation) {
      throw new LockstepError(
        'ERR_PROTOCOL',
        `Rank ${from} sent a frame of generation ${header.generation}; this is ${generation}.`,
      );
    }
    const { step, bucket, chunk: owner, node } = header;
    const expectedOwner = header.kind === 'partial' ? this.#options.plan.rank : from;
    if (owner !== expectedOwner) {
      const message = `Rank ${from} sent a ${header.kind} frame of chunk ${owner}; expected chunk ${expectedOwner}.`;
      throw new LockstepError('ERR_PROTOCOL', message);
    }
    if (header.kind === 'partial') {
      this.#take({ type: 'partial', from, step, bucket, node }, () => {
        this.#store(header, payload, this.#inboxAddress(bucket, node), this.#chunk(bucket, this.#options.plan.rank));
      });
    } else {
      this.#take({ type: 'reduced', from, step, bucket }, () => {
        const chunk = this.#chunk(bucket, from);
        this.#store(header, payload, this.#address('reduced', bucket, chunk.offset), chunk);
      });
    }
  }

  /** Asks the machine first, so that nothing is written for an event that it refuses. */
  #take(event: AllReduceEvent, write: () => void): void {
    const { state, effects } = allReduce(this.#options.plan, this.#state, event);
    const { step } = this.#state;
    write();
    this.#state = state;
    for (const effect of effects) this.#perform(effect, step);
  }

  #perform(effect: AllReduceEffect, step: number): void {
    switch (effect.type) {
      case 'send-partial':
        this.#sendPartial(effect.to, effect.bucket, effect.node, step);
        break;
      case 'sum':
        this.#sum(effect.bucket);
        break;
      case 'send-reduced':
        this.#sendReduced(effect.to, effect.bucket, step);
        break;
      case 'apply':
        this.#apply(this.#bucket(effect.bucket), step);
        break;
      case 'commit':
        this.#options.onCommit(effect.step);
        break;
    }
  }

  /** Sums own neighbouring slots that are sent as one partial. */
  #fillOutbox(index: number): void {
    const { plan, memory } = this.#options;
    if (plan.nodesByRank.length === 1) return;
    const { offset, elements } = this.#bucket(index);
    for (const node of plan.nodesByRank[plan.rank] ?? []) {
      if (!node.children) continue;
      const destination = this.#address(outboxRegion(node), index, offset);
      const addressOf = ({ firstSlot, children }: TreeNode): number | undefined =>
        children ? undefined : this.#address(slotRegion(firstSlot), index, offset);
      const kernels = memory.kernels(this.#bucket(index).segment);
      sumTree(node, { addressOf, destination, scratch: this.#scratch(index), numElements: elements, add: kernels.add });
    }
  }

  #sum(index: number): void {
    const { plan, tree, memory } = this.#options;
    const { offset, elements } = this.#chunk(index, plan.rank);
    const { segment } = this.#bucket(index);
    const { add } = memory.kernels(segment);
    const destination = this.#address('reduced', index, offset);
    const addressOf = (node: TreeNode): number | undefined => this.#partialAddress(node, index, offset);
    const sum = sumTree(tree, { addressOf, destination, scratch: this.#scratch(index), numElements: elements, add });
    if (sum !== destination) this.#copy(segment, sum, destination, elements);
  }

  /** Where a partial of our own chunk lies: own slots in place, own subtrees in the outbox, others in the inbox. */
  #partialAddress(node: TreeNode, bucket: number, offset: number): number | undefined {
    const { plan } = this.#options;
    const rank = plan.nodesByRank.findIndex((nodes) => nodes.some(({ id }) => id === node.id));
    if (rank >= 0 && rank !== plan.rank) return this.#inboxAddress(bucket, node.id);
    if (rank === plan.rank && node.children && plan.nodesByRank.length > 1) {
      return this.#address(outboxRegion(node), bucket, offset);
    }
    const isOwnSlot = node.children === null && this.#options.memory.has(slotRegion(node.firstSlot));
    return isOwnSlot ? this.#address(slotRegion(node.firstSlot), bucket, offset) : undefined;
  }

  #sendPartial(to: number, bucket: number, node: TreeNode, step: number): void {
    const chunk = this.#chunk(bucket, to);
    const region = node.children ? outboxRegion(node) : slotRegion(node.firstSlot);
    this.#sendChunk(to, { kind: 'partial', step, bucket, chunk: to, node: node.id }, region, chunk);
  }

  #sendReduced(to: number, bucket: number, step: number): void {
    const { rank } = this.#options.plan;
    const chunk = this.#chunk(bucket, rank);
    this.#sendChunk(to, { kind: 'reduced', step, bucket, chunk: rank, node: 0 }, 'reduced', chunk);
  }

  #sendChunk(
    to: number,
    what: Omit<FrameHeader, 'generation' | 'payloadBytes' | 'checksum'>,
    region: string,
    { offset, elements }: Chunk,
  ): void {
    const { memory, plan, send } = this.#options;
    const { segment } = this.#bucket(what.bucket);
    const address = this.#address(region, what.bucket, offset);
    const payloadBytes = elements * floatBytes;
    const checksum = memory.kernels(segment).checksum(address, payloadBytes);
    const header = encodeFrameHeader({ ...what, generation: plan.generation, payloadBytes, checksum });
    send(to, header, memory.bytes(segment, address, payloadBytes));
  }

  #store(header: FrameHeader, payload: readonly Uint8Array[], address: number, chunk: Chunk): void {
    const { memory } = this.#options;
    const { segment } = this.#bucket(header.bucket);
    const expected = chunk.elements * floatBytes;
    const found = payload.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (found !== expected || header.payloadBytes !== expected) {
      const message = `A frame of bucket ${header.bucket} carries ${found} bytes; the chunk has ${expected}.`;
      throw new LockstepError('ERR_PROTOCOL', message);
    }
    const target = memory.bytes(segment, address, expected);
    let written = 0;
    for (const piece of payload) {
      target.set(piece, written);
      written += piece.byteLength;
    }
    if (memory.kernels(segment).checksum(address, expected) === header.checksum) return;
    const message = `A frame of bucket ${header.bucket}, step ${header.step}, does not match its checksum.`;
    throw new LockstepError('ERR_FRAME_CORRUPT', message);
  }

  /** The optimizer on what is trainable; averages and scalars are assigned. */
  #apply({ index, segment, offset, elements, trainableElements }: Bucket, step: number): void {
    const { memory, optimizer } = this.#options;
    if (!optimizer) return;
    const at = (region: string): number => this.#address(region, index, offset);
    if (trainableElements > 0) {
      const moments = Object.fromEntries(momentRegions(optimizer).map((region) => [region, at(region)]));
      const addresses = { parameters: at(PARAMETERS), gradient: at('reduced'), ...moments };
      applyOptimizer(optimizer, step + 1, memory.kernels(segment), addresses, trainableElements);
    }
    const assigned = trainableElements * floatBytes;
    this.#copy(segment, at('reduced') + assigned, at(PARAMETERS) + assigned, elements - trainableElements);
  }

  #copy(segment: number, source: number, destination: number, elements: number): void {
    const { memory } = this.#options;
    const numBytes = elements * floatBytes;
    memory.bytes(segment, destination, numBytes).set(memory.bytes(segment, source, numBytes));
  }

  #scratch(index: number): (level: number) => number {
    const { memory, plan, tree } = this.#options;
    const { segment } = this.#bucket(index);
    const levelBytes = largestBucket(plan.buckets, segment) * floatBytes;
    const start = memory.address('scratch', segment);
    return (level) => {
      assert(level < depthOf(tree), `level ${level} of a tree of ${depthOf(tree)} levels has no scratch`);
      return start + level * levelBytes;
    };
  }

  #inboxAddress(bucket: number, nodeId: number): number {
    return this.#address(inboxRegion(nodeId), bucket, this.#inboxOffsets[bucket] ?? 0);
  }

  #address(region: string, bucket: number, offset: number): number {
    return this.#options.memory.address(region, this.#bucket(bucket).segment) + offset * floatBytes;
  }

  #bucket(index: number): Bucket {
    const bucket = this.#options.plan.buckets[index];
    assert(bucket, `there is no bucket ${index}`);
    return bucket;
  }

  #chunk(bucket: number, rank: number): Chunk {
    const chunk = this.#bucket(bucket).chunks[rank];
    assert(chunk, `bucket ${bucket} has no chunk for rank ${rank}`);
    return chunk;
  }
}

/** The header off the front of a frame, however the frame was cut into pieces. */
function splitFrame(fragments: readonly Uint8Array[]): { header: FrameHeader; payload: readonly Uint8Array[] } {
  const [first, ...rest] = fragments;
  if (first?.byteLength === frameHeaderBytes) return { header: decodeFrameHeader(first), payload: rest };
  const whole = Buffer.concat(fragments);
  const header = decodeFrameHeader(whole.subarray(0, frameHeaderBytes));
  return { header, payload: [whole.subarray(frameHeaderBytes)] };
}
