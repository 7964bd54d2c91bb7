/** What the all-reduce machine is told, and what it says that is to be done. */
import type { Chunk, RoutedBucket } from './plan.js';
import type { TreeNode } from './tree.js';

export type AllReduceEvent =
  /** Our own slots' gradients of a bucket are in memory; in any order of buckets. */
  | { readonly type: 'ready'; readonly step: number; readonly bucket: number }
  | {
      readonly type: 'partial';
      readonly from: number;
      readonly step: number;
      readonly bucket: number;
      readonly chunk: number;
      readonly node: number;
    }
  | {
      readonly type: 'result';
      readonly from: number;
      readonly step: number;
      readonly bucket: number;
      readonly chunk: number;
    }
  /** What a peer has summed of a segment, by the squares of its pages. */
  | { readonly type: 'squares'; readonly from: number; readonly step: number; readonly segment: number }
  /** A frame has left our memory. */
  | { readonly type: 'sent'; readonly to: number; readonly step: number }
  /** A peer spoke of the next step, so it has all that we sent it. */
  | { readonly type: 'ahead'; readonly from: number };

/** What a frame makes. */
export type FrameEvent = Extract<AllReduceEvent, { type: 'partial' | 'result' | 'squares' }>;

export interface Place {
  readonly bucket: RoutedBucket;
  readonly chunk: Chunk;
}

export type AllReduceEffect =
  | (Place & { readonly type: 'send-partial'; readonly to: readonly number[]; readonly node: TreeNode })
  /** Sum the chunk, which this rank owns: the result is for all. */
  | (Place & { readonly type: 'sum' })
  /** The squares of all sums of this rank are known, and go to all others. */
  | { readonly type: 'send-squares'; readonly to: readonly number[]; readonly segment: number }
  /** Everybody's squares are here. */
  | { readonly type: 'norm' }
  /** Make new weights of the sum of the chunk, which this rank owns, by the norm. Without a norm, `sum` does so. */
  | (Place & { readonly type: 'advance' })
  /** Sum what this rank has of the chunk to the partials that it sends on. */
  | (Place & { readonly type: 'combine' })
  /** What the step applies of the chunk is here, or can be summed of what is here. */
  | (Place & { readonly type: 'complete' })
  | (Place & { readonly type: 'send-result'; readonly to: readonly number[] })
  /** Apply every bucket, and go on to the next step. */
  | { readonly type: 'commit'; readonly step: number };
