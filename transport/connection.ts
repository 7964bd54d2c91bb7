/**
 * One WebSocket between two processes that have proved the token to one another. It carries control messages, or bulk
 * frames, as binary messages; whoever holds it knows which comes next. Messages wait in order until somebody reads them.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { z } from 'zod';
import type { WebSocket } from 'ws';
import { LockstepError } from '../src/errors.js';
import { decodeMessage, encodeMessage } from '../src/protocol/codec.js';
import { encodeFrameHead, type BulkHandler } from './bulk.js';
import type { BulkReader } from './bulk-reader.js';
import type { Impeded, Impediment } from './impediment.js';

/** The pieces of one message, in order; a bulk frame is not joined, to spare a copy. */
export type Fragments = readonly Uint8Array[];

export type MessageHandler = (message: Fragments) => void;

export interface Closing {
  /** As RFC 6455 section 7.4 has it; 1006 where the other side vanished. */
  readonly code: number;
  readonly reason: string;
}

/** A payload up to this size travels in one piece with its header. */
const maxJoinedBytes = 16 * 1024;

/** Tells the other side that bulk messages are taken in from now on. */
const bulkPing = 'bulk';

/** What a WebSocket runs over. */
export interface Carrier {
  readonly stream: Duplex;
  /** Reads that stream; null: it is read as Node reads any, with a copy more of each byte. */
  readonly reader: BulkReader | null;
  /** This side dialled. */
  readonly dialled: boolean;
  /** Largest message, in bytes. */
  readonly maxMessageBytes: number;
  /** What a test of recovery does to it. */
  readonly impediment?: Impediment | undefined;
}

export class Connection implements Impeded {
  /** For logs: the address of the other side. */
  readonly remote: string;
  /** The other side is a process of another host. */
  readonly isRemote: boolean;
  readonly closed: Promise<Closing>;
  readonly #socket: WebSocket;
  readonly #carrier: Carrier;
  readonly #otherTakesBulk: Promise<void>;
  #handler: MessageHandler | null = null;
  #unread: Fragments[] = [];

  constructor(socket: WebSocket, remote: string, carrier: Carrier) {
    this.#socket = socket;
    this.#carrier = carrier;
    this.remote = remote;
    this.isRemote = isBetweenHosts(carrier.stream);
    socket.binaryType = 'fragments';
    socket.on('message', (data: Buffer[], isBinary: boolean) => {
      if (!isBinary) socket.close(1003, 'text messages are not spoken here');
      else if (this.#handler) this.#handler(data);
      else this.#unread.push(data);
    });
    this.#otherTakesBulk = new Promise((resolve) => {
      socket.on('ping', (data) => {
        if (data.toString() === bulkPing) resolve();
      });
    });
    const release = carrier.impediment?.add(this);
    let failure = '';
    socket.on('error', (error) => (failure = error.message));
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => {
        release?.();
        resolve({ code, reason: reason.toString() || failure });
      });
    });
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN;
  }

  /** Bytes that were sent and have not left this process. */
  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  /** Hands over all messages from now on, those that wait first. */
  onMessage(handler: MessageHandler): void {
    this.#handler = handler;
    const unread = this.#unread;
    this.#unread = [];
    for (const message of unread) handler(message);
  }

  /** The next message, as control message of this schema. Only before `onMessage`. */
  async receive<T extends z.ZodType>(schema: T, options: { what: string; timeoutMs: number }): Promise<z.output<T>> {
    const message = await this.#next(options);
    return decodeMessage(schema, joinFragments(message));
  }

  send(message: object): void {
    if (!this.isOpen) return;
    const bytes = encodeMessage(message);
    this.#unimpeded(() => {
      if (this.isOpen) this.#socket.send(bytes);
    });
  }

  /**
   * Hands over all messages from now on as they come in, and resolves when the other side does the same: only then may bulk
   * be sent. To be called with the last control message taken, and none under way.
   */
  async openBulk(handler: BulkHandler, options: { timeoutMs: number }): Promise<void> {
    const { reader, dialled, maxMessageBytes } = this.#carrier;
    const refuse = (code: number, reason: string): void => {
      this.close(code, reason);
      setImmediate(() => {
        this.terminate();
      });
    };
    if (reader) reader.begin(handler, { maxMessageBytes, isMasked: !dialled, refuse });
    else {
      this.onMessage((fragments) => {
        deliver(joinFragments(fragments), handler);
      });
    }
    this.#socket.ping(bulkPing);
    await this.#unlessClosed(this.#otherTakesBulk, { what: 'readiness for bulk messages', ...options });
  }

  /**
   * Sends header and payload as one message. A large payload is not joined with its header, and must not change until it has
   * left, which `onSent` tells; it is not called where the connection ends before. A small one is, since a second call of the
   * system costs more: then it is called at once.
   *
   * It is written past ws, whose way through two queues takes longer than all the rest of a small message.
   */
  sendBulk(header: Uint8Array, payload: Uint8Array, onSent: () => void): void {
    if (!this.isOpen) return;
    const { impediment } = this.#carrier;
    if (impediment?.isActive === true) {
      const kept = Uint8Array.from(header); // the caller's own is used again
      impediment.hold(() => {
        if (this.isOpen) writeBulk(this.#carrier, kept, payload, onSent);
      });
      return;
    }
    writeBulk(this.#carrier, header, payload, onSent);
  }

  /** Closes after what was sent before. */
  close(code = 1000, reason = ''): void {
    if (this.#carrier.impediment?.isCut === true) this.terminate();
    this.#unimpeded(() => {
      this.#socket.close(code, reason.slice(0, 120));
    });
  }

  deafen(): void {
    this.#socket.pause();
  }

  terminate(): void {
    this.#socket.terminate();
  }

  #unimpeded(action: () => void): void {
    const { impediment } = this.#carrier;
    if (impediment) impediment.hold(action);
    else action();
  }

  async #next({ what, timeoutMs }: { what: string; timeoutMs: number }): Promise<Fragments> {
    const waiting = this.#unread.shift();
    if (waiting) return waiting;
    try {
      const next = new Promise<Fragments>((resolve) => {
        this.#handler = (message) => {
          this.#handler = null; // the next one waits for the next reader
          resolve(message);
        };
      });
      return await this.#unlessClosed(next, { what, timeoutMs });
    } finally {
      this.#handler = null;
    }
  }

  async #unlessClosed<T>(promise: Promise<T>, { what, timeoutMs }: { what: string; timeoutMs: number }): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        promise.then(resolve, reject);
        timer = setTimeout(() => {
          reject(new LockstepError('ERR_TIMEOUT', `No ${what} came from ${this.remote} within ${timeoutMs} ms.`));
        }, timeoutMs);
        void this.closed.then(({ code, reason }) => {
          const why = `${this.remote} closed the connection (${code} ${reason || 'no reason given'}) before its ${what}.`;
          reject(new LockstepError('ERR_CONNECT', why, { details: { closeCode: code } }));
        });
      });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Not over a Unix socket, nor from an address of this host to the same. */
function isBetweenHosts(stream: Duplex): boolean {
  return stream instanceof Socket && stream.remoteAddress !== stream.localAddress;
}

function writeBulk({ stream, dialled }: Carrier, header: Uint8Array, payload: Uint8Array, onSent: () => void): void {
  const head = encodeFrameHead(header.byteLength + payload.byteLength, dialled);
  if (payload.byteLength <= maxJoinedBytes) {
    stream.write(Buffer.concat([head, header, payload]));
    onSent();
    return;
  }
  stream.cork();
  stream.write(Buffer.concat([head, header]));
  stream.write(payload, (error) => {
    if (!error) onSent();
  });
  stream.uncork();
}

/** A bulk message that has come as a whole. */
function deliver(message: Uint8Array, handler: BulkHandler): void {
  const payload = message.subarray(handler.headerBytes);
  handler.begin(message.subarray(0, handler.headerBytes), payload.byteLength)?.set(payload);
  if (payload.byteLength > 0) handler.progress(payload.byteLength);
  handler.end();
}

export function joinFragments(fragments: Fragments): Uint8Array {
  const [only] = fragments;
  return fragments.length === 1 && only ? only : Buffer.concat(fragments);
}
