/**
 * Reads one socket. Until bulk messages begin, all bytes go to whoever listens to the socket (HTTP, then ws). From then on a
 * payload is read by the system straight to where it belongs; of what comes, only control frames still go to ws.
 */
import type { OnReadOpts, Socket } from 'node:net';
import { decodeFrameHead, type BulkHandler } from './bulk.js';

/** What is no payload comes in here; a small payload too, with what is around it. */
const scratchBytes = 16 * 1024;

/** Payload is taken in parts of this size at most, so that it is still in the processor's cache when it is looked at. */
const maxReadBytes = 256 * 1024;

export interface BulkReaderOptions {
  /** Largest message, in bytes. */
  readonly maxMessageBytes: number;
  /** Whether the other side dialled. */
  readonly isMasked: boolean;
  /** Told once of what is no bulk message; nothing is read from then on. The code is one of RFC 6455 section 7.4. */
  readonly refuse: (code: number, reason: string) => void;
}

export class BulkReader {
  /** The option of the socket that this reads. */
  readonly onread: OnReadOpts = {
    buffer: () => this.#target,
    callback: (numBytes) => this.#onRead(numBytes),
  };
  readonly #scratch = Buffer.alloc(scratchBytes);
  /** Bytes of the scratch that are not taken yet. */
  #filled = 0;
  /** Where the system writes next. */
  #target: Uint8Array = this.#scratch;
  /** What is missing of the message that comes in. */
  #payload: Uint8Array | null = null;
  #socket: Socket | null = null;
  #bulk: (BulkReaderOptions & { readonly handler: BulkHandler }) | null = null;
  #isRefused = false;

  /** Before the socket's first byte. */
  attach(socket: Socket): void {
    this.#socket = socket;
  }

  /** Hands over all messages from here on, which has to be between two messages. */
  begin(handler: BulkHandler, options: BulkReaderOptions): void {
    this.#bulk = { ...options, handler };
  }

  /** Whether the socket goes on reading. */
  #onRead(numBytes: number): boolean {
    if (!this.#bulk || this.#isRefused) return this.#pass(0, numBytes);
    if (this.#payload) this.#takePayload(this.#payload, numBytes);
    else {
      this.#filled += numBytes;
      this.#takeScratch();
    }
    this.#target = this.#payload?.subarray(0, maxReadBytes) ?? this.#scratch.subarray(this.#filled);
    return true;
  }

  /** To those who listen to the socket. */
  #pass(start: number, end: number): boolean {
    return this.#socket?.push(Buffer.from(this.#scratch.subarray(start, end))) ?? true;
  }

  #takePayload(payload: Uint8Array, numBytes: number): void {
    this.#bulk?.handler.progress(numBytes);
    this.#payload = numBytes < payload.byteLength ? payload.subarray(numBytes) : null;
    if (!this.#payload) this.#bulk?.handler.end();
  }

  #takeScratch(): void {
    let start = 0;
    while (!this.#payload && !this.#isRefused) {
      const taken = this.#takeFrame(start);
      if (taken === 0) break;
      start += taken;
    }
    // What is left is less than a frame's head and a header; there is nothing left where a payload goes on.
    this.#scratch.copyWithin(0, start, this.#filled);
    this.#filled -= start;
  }

  /** How many bytes it has taken, from `start` on; 0: it needs more of them. */
  #takeFrame(start: number): number {
    const head = decodeFrameHead(this.#scratch, start, this.#filled);
    if (!head || !this.#bulk) return 0;
    const { handler, maxMessageBytes, isMasked } = this.#bulk;
    const { payloadBytes } = head;
    const end = start + head.headBytes + payloadBytes;
    if (head.isControl && payloadBytes < 126) {
      if (end > this.#filled) return 0;
      this.#pass(start, end);
      return end - start;
    }
    if (!head.isPlain || head.isMasked !== isMasked) return this.#refuse(1002, 'this is no bulk message');
    if (payloadBytes > maxMessageBytes) return this.#refuse(1009, `${payloadBytes} bytes are over the limit`);
    const from = start + head.headBytes;
    const headerEnd = Math.min(from + handler.headerBytes, end);
    if (headerEnd > this.#filled) return 0;
    return this.#takeMessage({ start, from, headerEnd, end });
  }

  #takeMessage(at: {
    readonly start: number;
    readonly from: number;
    readonly headerEnd: number;
    readonly end: number;
  }): number {
    const { start, from, headerEnd, end } = at;
    const numBytes = end - headerEnd;
    const handler = this.#bulk?.handler;
    const payload = handler?.begin(this.#scratch.subarray(from, headerEnd), numBytes) ?? new Uint8Array(numBytes);
    const here = Math.min(numBytes, this.#filled - headerEnd);
    if (here > 0) {
      payload.set(this.#scratch.subarray(headerEnd, headerEnd + here));
      handler?.progress(here);
    }
    if (here < numBytes) this.#payload = payload.subarray(here);
    else handler?.end();
    return headerEnd + here - start;
  }

  #refuse(code: number, reason: string): number {
    this.#isRefused = true;
    this.#bulk?.refuse(code, reason);
    return 0;
  }
}
