/** What takes the bulk frames of one peer: those of steps go to where they belong, one with state is kept until all of it is here. */
import type { FrameRing } from '../../src/flight/frame-record.js';
import { frameHeaderBytes, isStateFrame } from '../../src/protocol/frame.js';
import type { BulkHandler } from '../../transport/bulk.js';
import { clockMs } from '../flight/flight-recorder.js';
import type { Reduction } from './reduction.js';

export interface FrameTakers {
  readonly reduction: Pick<Reduction, 'begin' | 'progress' | 'end'>;
  /** Keeps the last ones for the flight recorder. @default nobody does */
  readonly frames: FrameRing | undefined;
  /** Runs what a frame makes happen, unless the generation has ended. */
  readonly guard: (action: () => void) => void;
  /** All of a step's frame is here, and nothing has been made of it yet. */
  readonly onWhole: () => void;
  /** A whole frame with state, or that asks for it: header and payload. */
  readonly onState: (bytes: Uint8Array) => void;
}

export function peerFrames(rank: number, { reduction, frames, onWhole, guard, onState }: FrameTakers): BulkHandler {
  let state: Uint8Array | null = null;
  let number = 0;
  return {
    headerBytes: frameHeaderBytes,
    begin: (header, numBytes) => {
      number = frames?.add('received', rank, header, clockMs()) ?? 0;
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
      frames?.done(number, clockMs());
      if (state) onState(state);
      else {
        onWhole();
        guard(() => {
          reduction.end(rank);
        });
      }
      state = null;
    },
  };
}
