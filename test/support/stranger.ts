/** One who connects to a listener and does not keep to the protocol; each call ends when the listener has hung up. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { z } from 'zod';
import { makeNonce, proofHeader, proveToken } from '../../src/protocol/authentication.js';
import { protocolVersion } from '../../src/protocol/version.js';
import { defaultLimits } from '../../src/protocol/limits.js';
import type { Connection } from '../../transport/connection.js';
import { dial } from '../../transport/dialler.js';

export class Stranger {
  readonly #host: string;
  readonly #port: number;

  /** @param address HOST:PORT, or as a ws:// URL */
  constructor(address: string) {
    const { hostname, port } = new URL(address.includes('://') ? address : `ws://${address}`);
    this.#host = hostname;
    this.#port = Number(port);
  }

  /** Sends this and waits; returns what was answered, as text. */
  async says(bytes: Uint8Array | string): Promise<string> {
    const socket = connect(this.#port, this.#host);
    socket.write(bytes);
    return hangUp(socket);
  }

  /** Connects and says nothing. */
  async saysNothing(): Promise<string> {
    return hangUp(connect(this.#port, this.#host));
  }

  /** Tries to come in with this token. */
  async enters(token: string): Promise<Connection> {
    const endpoint = { kind: 'tcp', host: this.#host, port: this.#port } as const;
    const limits = defaultLimits;
    return dial({ endpoint, token, limits, maxMessageBytes: limits.maxControlBytes });
  }

  /** Comes in with the token, sends a message, and returns why it was thrown out. */
  async entersAndSays(token: string, message: object): Promise<string> {
    const connection = await this.enters(token);
    connection.send(message);
    return (await connection.closed).reason;
  }

  /** Comes in with the token, then sends these bytes in place of a WebSocket frame. */
  async entersAndBreaks(token: string, bytes: Uint8Array): Promise<void> {
    const answer = await fetch(`http://${this.#host}:${this.#port}/challenge`);
    const { nonce: listener } = z.object({ nonce: z.string() }).parse(await answer.json());
    const nonces = { listener, dialler: makeNonce() };
    const socket = connect(this.#port, this.#host);
    const headers = {
      Host: this.#host,
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==',
      'x-lockstep-protocol': String(protocolVersion),
      'x-lockstep-listener-nonce': nonces.listener,
      'x-lockstep-dialler-nonce': nonces.dialler,
      [proofHeader]: proveToken(token, 'dialler', nonces),
    };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`GET / HTTP/1.1\r\n${lines.join('')}\r\n`);
    const [first] = (await once(socket, 'data')) as [Buffer]; // 'data' of a socket without an encoding
    if (!first.toString('latin1').startsWith('HTTP/1.1 101 '))
      throw new Error(`not let in: ${first.toString('latin1')}`);
    socket.write(bytes);
    await hangUp(socket);
  }
}

async function hangUp(socket: Socket): Promise<string> {
  const pieces: Buffer[] = [];
  socket.on('data', (piece: Buffer) => pieces.push(piece));
  socket.on('error', () => undefined); // a reset is a way to hang up
  socket.on('end', () => socket.end());
  await once(socket, 'close');
  return Buffer.concat(pieces).toString('latin1');
}
