/** The frames of a step as they leave: a header with its checksum, and the payload from where it lies in the flat memory. */
import type { AllReducePlan, Chunk, RoutedBucket } from '../../src/collective/plan.js';
import { checksumOf } from '../../src/kernels/kernels.js';
import { encodeFrameHeader, type FrameHeader } from '../../src/protocol/frame.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { checksumState } from './regions.js';
import type { Windows } from './windows.js';

/**
 * Sends one bulk frame to a rank. `onSent` is called, later, when the payload has left this process's memory; never, if it
 * cannot leave it.
 */
export type SendFrame = (to: number, header: Uint8Array, payload: Uint8Array, onSent: () => void) => void;

/** In bytes, in a segment's memory. */
export interface Content {
  readonly address: number;
  readonly numBytes: number;
}

interface OutgoingFramesOptions {
  readonly plan: AllReducePlan;
  readonly memory: FlatMemory;
  readonly windows: Windows;
  readonly send: SendFrame;
}

export class OutgoingFrames {
  readonly #options: OutgoingFramesOptions;

  constructor(options: OutgoingFramesOptions) {
    this.#options = options;
  }

  /** To those that read our memory a header goes, to the others the bytes too. `onSent` is called for each, as `SendFrame` has it. */
  sendChunk(
    to: readonly number[],
    bucket: RoutedBucket,
    chunk: Chunk,
    what: Pick<FrameHeader, 'kind' | 'step' | 'node'>,
    content: Content,
    onSent: (to: number) => void,
  ): void {
    const { readers } = this.#options.windows;
    const reads = (rank: number): boolean => chunk.onPages && readers.has(rank);
    const others = to.filter((rank) => !reads(rank));
    const full = { ...what, chunk: chunk.index };
    this.send(to.filter(reads), bucket, full, null, onSent);
    this.send(others, bucket, full, content, onSent);
  }

  /** To several ranks alike, so that the checksum is worked out once. `content` null: they read it in place. */
  send(
    to: readonly number[],
    { index, segment }: Pick<RoutedBucket, 'index' | 'segment'>,
    what: Pick<FrameHeader, 'kind' | 'step' | 'chunk' | 'node'>,
    content: Content | null,
    onSent: (to: number) => void,
  ): void {
    if (to.length === 0) return;
    const { memory, plan, send } = this.#options;
    const { address, numBytes } = content ?? { address: 0, numBytes: 0 };
    const checksum = content ? this.#checksum(segment, content) : 0;
    const common = { generation: plan.generation, bucket: index, inPlace: content === null };
    const header = encodeFrameHeader({ ...what, ...common, payloadBytes: numBytes, checksum });
    const payload = memory.bytes(segment, address, numBytes);
    for (const rank of to) {
      send(rank, header, payload, () => {
        onSent(rank);
      });
    }
  }

  #checksum(segment: number, { address, numBytes }: Content): number {
    const { memory, plan } = this.#options;
    return checksumOf(memory.kernels(segment), checksumState(memory, segment, plan.rank), address, numBytes);
  }
}
