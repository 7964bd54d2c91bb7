/**
 * One WebSocket between two processes that have proved the token to one another. It carries control messages, or bulk
 * frames, as binary messages; whoever holds it knows which comes next. Messages wait in order until somebody reads them.
 */
import type { z } from 'zod';
import type { WebSocket } from 'ws';
import { LockstepError } from '../src/errors.js';
import { decodeMessage, encodeMessage } from '../src/protocol/codec.js';

/** The pieces of one message, in order; a bulk frame is not joined, to spare a copy. */
export type Fragments = readonly Uint8Array[];

export type MessageHandler = (message: Fragments) => void;

export interface Closing {
  /** As RFC 6455 section 7.4 has it; 1006 where the other side vanished. */
  readonly code: number;
  readonly reason: string;
}

/** A payload up to this size travels in one piece with its header. */
const maxJoinedBytes = 64 * 1024;

export class Connection {
  /** For logs: the address of the other side. */
  readonly remote: string;
  readonly closed: Promise<Closing>;
  readonly #socket: WebSocket;
  #handler: MessageHandler | null = null;
  #unread: Fragments[] = [];

  constructor(socket: WebSocket, remote: string) {
    this.#socket = socket;
    this.remote = remote;
    socket.binaryType = 'fragments';
    socket.on('message', (data: Buffer[], isBinary: boolean) => {
      if (!isBinary) socket.close(1003, 'text messages are not spoken here');
      else if (this.#handler) this.#handler(data);
      else this.#unread.push(data);
    });
    let failure = '';
    socket.on('error', (error) => (failure = error.message));
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => {
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
    if (this.isOpen) this.#socket.send(encodeMessage(message));
  }

  /**
   * Sends header and payload as one message. A large payload is not joined with its header, and must not change until it has
   * left, which `onSent` tells; it is not called where the connection ends before. A small one is, since a second call of the
   * system costs more: then it is called at once.
   */
  sendBulk(header: Uint8Array, payload: Uint8Array, onSent: () => void): void {
    if (!this.isOpen) return;
    if (payload.byteLength <= maxJoinedBytes) {
      this.#socket.send(payload.byteLength === 0 ? header : Buffer.concat([header, payload]), { binary: true });
      onSent();
      return;
    }
    this.#socket.send(header, { binary: true, fin: false });
    this.#socket.send(payload, { binary: true, fin: true }, (error) => {
      if (!error) onSent();
    });
  }

  /** Closes after what was sent before. */
  close(code = 1000, reason = ''): void {
    this.#socket.close(code, reason.slice(0, 120));
  }

  terminate(): void {
    this.#socket.terminate();
  }

  async #next({ what, timeoutMs }: { what: string; timeoutMs: number }): Promise<Fragments> {
    const waiting = this.#unread.shift();
    if (waiting) return waiting;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<Fragments>((resolve, reject) => {
        this.#handler = (message) => {
          this.#handler = null; // the next one waits for the next reader
          resolve(message);
        };
        timer = setTimeout(() => {
          reject(new LockstepError('ERR_TIMEOUT', `No ${what} came from ${this.remote} within ${timeoutMs} ms.`));
        }, timeoutMs);
        void this.closed.then(({ code, reason }) => {
          const why = `${this.remote} closed the connection (${code} ${reason || 'no reason given'}) before its ${what}.`;
          reject(new LockstepError('ERR_CONNECT', why));
        });
      });
    } finally {
      clearTimeout(timer);
      this.#handler = null;
    }
  }
}

export function joinFragments(fragments: Fragments): Uint8Array {
  const [only] = fragments;
  return fragments.length === 1 && only ? only : Buffer.concat(fragments);
}
