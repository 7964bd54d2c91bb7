/** The checksum (checksum.ts) of bytes that lie anywhere and come in pieces of any length. */
import { checksumStateBytes, instantiateKernels, type Kernels } from './kernels.js';

const pageBytes = 65_536;
/** A mebibyte, which stays in the processor's cache, behind the state. */
const stagedBytes = 2 ** 20;

export class ChecksumStream {
  readonly #kernels: Kernels;
  /** What came and is in no digest yet. */
  readonly #staged: Uint8Array;
  #numStaged = 0;
  #totalBytes = 0;

  constructor() {
    const pages = Math.ceil((checksumStateBytes + stagedBytes) / pageBytes);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.#kernels = instantiateKernels(memory);
    this.#staged = new Uint8Array(memory.buffer, checksumStateBytes, stagedBytes);
    this.#kernels.checksumBegin(0);
  }

  update(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const piece = bytes.subarray(at, at + stagedBytes - this.#numStaged);
      this.#staged.set(piece, this.#numStaged);
      this.#numStaged += piece.length;
      this.#totalBytes += piece.length;
      at += piece.length;
      if (this.#numStaged === stagedBytes) this.#digest(stagedBytes);
    }
  }

  /** The digest of all that came since the last one: 8 hexadecimal digits. Lengths count modulo 2^32. The next begins. */
  take(): string {
    const inBlocks = this.#numStaged - (this.#numStaged % checksumStateBytes);
    this.#kernels.checksumUpdate(0, checksumStateBytes, inBlocks);
    const digest = this.#kernels.checksumEnd(0, checksumStateBytes + inBlocks, this.#totalBytes);
    this.#kernels.checksumBegin(0);
    this.#numStaged = 0;
    this.#totalBytes = 0;
    return digest.toString(16).padStart(8, '0');
  }

  #digest(numBytes: number): void {
    this.#kernels.checksumUpdate(0, checksumStateBytes, numBytes);
    this.#numStaged = 0;
  }
}
