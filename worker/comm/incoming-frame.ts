/** A frame whose payload comes in, to where it belongs: its checksum is worked out part by part. */
import { checksumStateBytes, type Kernels } from '../../src/kernels/kernels.js';
import type { FrameHeader } from '../../src/protocol/frame.js';

export interface IncomingPlace {
  readonly kernels: Kernels;
  /** Where the payload lies, in bytes. */
  readonly address: number;
  /** Where the state of a checksum lies. */
  readonly state: number;
}

export class IncomingFrame {
  readonly header: FrameHeader;
  readonly #place: IncomingPlace;
  /** Bytes that are here, and those that the checksum has taken in. */
  #numHere = 0;
  #numChecked = 0;

  constructor(header: FrameHeader, place: IncomingPlace) {
    this.header = header;
    this.#place = place;
    if (header.payloadBytes > 0) place.kernels.checksumBegin(place.state);
  }

  /** So many more bytes are here, still in the processor's cache. */
  progress(numBytes: number): void {
    const { kernels, address, state } = this.#place;
    this.#numHere += numBytes;
    const inBlocks = this.#numHere - (this.#numHere % checksumStateBytes) - this.#numChecked;
    kernels.checksumUpdate(state, address + this.#numChecked, inBlocks);
    this.#numChecked += inBlocks;
  }

  /** Whether the payload, all of which is here, matches its checksum. */
  get isIntact(): boolean {
    const { kernels, address, state } = this.#place;
    if (this.#numHere === 0) return true;
    return kernels.checksumEnd(state, address + this.#numChecked, this.#numHere) === this.header.checksum;
  }
}
