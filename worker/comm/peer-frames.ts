/** What takes the bulk frames of one peer: those of steps go to where they belong, one with state is kept until all of it is here. */
import { frameHeaderBytes, isStateFrame } from '../../src/protocol/frame.js';
import type { BulkHandler } from '../../transport/bulk.js';
import type { Reduction } from './reduction.js';

export interface FrameTakers {
  readonly reduction: Pick<Reduction, 'begin' | 'progress' | 'end'>;
  /** Runs what a frame makes happen, unless the generation has ended. */
  readonly guard: (action: () => void) => void;
  /** A whole frame with state, or that asks for it: header and payload. */
  readonly onState: (bytes: Uint8Array) => void;
}

export function peerFrames(rank: number, { reduction, guard, onState }: FrameTakers): BulkHandler {
  let state: Uint8Array | null = null;
  return {
    headerBytes: frameHeaderBytes,
    begin: (header, numBytes) => {
      if (isStateFrame(header)) {
        state = new Uint8Array(header.byteLength + numBytes);
        state.set(header);
        return state.subarray(header.byteLength);
      }
      let payload: Uint8Array | null = null;
      guard(() => {
        payload = reduction.begin(rank, header, numBytes);
      });
      return payload;
    },
    progress: (numBytes) => {
      if (state) return;
      guard(() => {
        reduction.progress(rank, numBytes);
      });
    },
    end: () => {
      if (state) onState(state);
      else {
        guard(() => {
          reduction.end(rank);
        });
      }
      state = null;
    },
  };
}
