/** What the workers of one simulated host share: a card, the memory that sockets copy through, and cores. */
import type { Network } from './network.js';

export class Host {
  payloadBytesOut = 0;
  payloadBytesIn = 0;
  /** Time in which the card sends. */
  cardSeconds = 0;
  freeCores: number;
  readonly #network: Network;
  #outFreeAt = 0;
  #inFreeAt = 0;
  #busFreeAt = 0;

  constructor(network: Network) {
    this.#network = network;
    this.freeCores = network.coresPerHost;
  }

  /** A frame goes out through the card; when its first byte does, and when its last one has. */
  sendOut(now: number, numBytes: number): { start: number; end: number } {
    const seconds = numBytes / this.#network.cardBytesPerSecond;
    const start = Math.max(now, this.#outFreeAt);
    this.#outFreeAt = start + seconds;
    this.cardSeconds += seconds;
    return { start, end: this.#outFreeAt };
  }

  /** A frame's first byte is at the card; when the last one has come in. */
  takeIn(now: number, numBytes: number): number {
    this.#inFreeAt = Math.max(now, this.#inFreeAt) + numBytes / this.#network.cardBytesPerSecond;
    return this.#inFreeAt;
  }

  /** A frame between two workers of this host; when it has been copied. */
  copy(now: number, numBytes: number): number {
    this.#busFreeAt = Math.max(now, this.#busFreeAt) + numBytes / this.#network.busBytesPerSecond;
    return this.#busFreeAt;
  }
}
