/**
 * Accepts connections on a TCP port or a Unix socket. A stranger meets Node's HTTP parser with its limits, and nothing
 * else: the WebSocket opens only for who has proved the token (src/protocol/authentication.ts).
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Socket, type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { LockstepError } from '../src/errors.js';
import type { Log } from '../src/log.js';
import { credentialsSchema, isProof, makeNonce, proofHeader, proveToken } from '../src/protocol/authentication.js';
import type { Nonces, Token } from '../src/protocol/authentication.js';
import type { Limits } from '../src/protocol/limits.js';
import { protocolVersion } from '../src/protocol/version.js';
import { BulkReader } from './bulk-reader.js';
import { Connection } from './connection.js';
import { formatEndpoint, isLocal, type Endpoint } from './endpoint.js';
import type { Impediment } from './impediment.js';

export interface ListenOptions {
  /** TCP port 0 takes a free one. */
  readonly endpoint: Endpoint;
  /** Null: whoever can reach the endpoint may connect; refused beyond this host. */
  readonly token: Token | null;
  readonly limits: Limits;
  /** Largest message, in bytes. */
  readonly maxMessageBytes: number;
  /** Bulk messages follow the control messages of a connection. @default false */
  readonly bulk?: boolean;
  readonly impediment?: Impediment | undefined;
  readonly log: Log;
  readonly onConnection: (connection: Connection) => void;
}

/** Challenges that may be open at once; a stranger who asks for more drives out the oldest. */
const maxChallenges = 4096;

export class Listener {
  /** With the port that was taken. */
  readonly endpoint: Endpoint;
  readonly #server: Server;
  readonly #sockets: WebSocketServer;

  private constructor(endpoint: Endpoint, server: Server, sockets: WebSocketServer) {
    this.endpoint = endpoint;
    this.#server = server;
    this.#sockets = sockets;
  }

  /** @throws LockstepError ERR_LISTEN_NOT_ALLOWED, ERR_ADDRESS_IN_USE, ERR_CONNECT */
  static async listen(options: ListenOptions): Promise<Listener> {
    refuseOpenDoor(options.endpoint, options.token !== null);
    const sockets = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: options.maxMessageBytes,
    });
    const server = createServer({
      headersTimeout: options.limits.authenticationTimeoutMs,
      requestTimeout: options.limits.authenticationTimeoutMs,
      connectionsCheckingInterval: Math.min(1_000, options.limits.authenticationTimeoutMs),
    });
    server.maxConnections = options.limits.maxConnections;
    serve(server, sockets, options);
    await bind(server, options.endpoint);
    return new Listener(boundEndpoint(server, options.endpoint), server, sockets);
  }

  /** Stops listening and cuts what is still connected. */
  async close(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate();
    this.#server.closeAllConnections();
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }
}

/**
 * Beyond this host nothing listens without a token. For whoever wants to know before there is a listener, too.
 *
 * @throws LockstepError ERR_LISTEN_NOT_ALLOWED
 */
export function refuseOpenDoor(endpoint: Endpoint, hasToken: boolean): void {
  if (hasToken || isLocal(endpoint)) return;
  throw new LockstepError(
    'ERR_LISTEN_NOT_ALLOWED',
    `Listening on ${formatEndpoint(endpoint)} would let anyone on the network in. Give --token-file FILE, the same to the ` +
      'coordinator and its workers, or listen on 127.0.0.1.',
  );
}

function serve(server: Server, sockets: WebSocketServer, options: ListenOptions): void {
  const { log, limits, maxMessageBytes, impediment } = options;
  const readers = options.bulk === true ? readForBulk(server) : new WeakMap<Duplex, BulkReader>();
  const challenges = new Challenges(limits.authenticationTimeoutMs);
  server.on('request', (request, response) => {
    answer(request, response, challenges);
  });
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', ignore); // Node's own listener is gone by now, and a reset would end the process
    const remote = remoteOf(request);
    const admission = admit(request, options.token ?? '', challenges);
    if ('refusal' in admission) {
      log.warn(`refused a connection from ${remote}: ${admission.refusal}`, { remote });
      refuse(socket, admission.refusal);
      return;
    }
    sockets.once('headers', (headers) => headers.push(`${proofHeader}: ${admission.proof}`));
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const carrier = {
        stream: socket,
        reader: readers.get(socket) ?? null,
        dialled: false,
        maxMessageBytes,
        impediment,
      };
      options.onConnection(new Connection(webSocket, remote, carrier));
    });
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code !== 'ECONNRESET') log.warn(`refused a connection: ${error.message}`, { code: error.code });
    endForGood(socket, 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
  });
  server.on('drop', () => {
    log.warn(`refused a connection: ${limits.maxConnections} are open, the limit`);
  });
}

/**
 * Gives each socket that the server accepts a reader, before HTTP reads it. What a socket's bytes are read to is an option of
 * its constructor, and Node's servers have none for it; so a socket is made anew of the handle of the accepted one. Where a
 * Node has no such handle, there is no reader, and all works as without.
 */
function readForBulk(server: Server): WeakMap<Duplex, BulkReader> {
  const readers = new WeakMap<Duplex, BulkReader>();
  const [serveHttp] = server.listeners('connection');
  server.removeAllListeners('connection');
  server.on('connection', (accepted: Socket & { _handle?: unknown }) => {
    let socket: Socket = accepted;
    const { _handle: handle } = accepted;
    if (handle) {
      const reader = new BulkReader();
      const options = { handle, allowHalfOpen: true, onread: reader.onread };
      socket = new Socket(options);
      reader.attach(socket);
      readers.set(socket, reader);
      accepted._handle = null;
      // The server counts the sockets that it has accepted.
      socket.once('close', () => accepted.destroy());
    }
    serveHttp?.call(server, socket);
  });
  return readers;
}

function answer(request: IncomingMessage, response: ServerResponse, challenges: Challenges): void {
  const found = request.method === 'GET' && request.url === '/challenge';
  const body = found
    ? { protocol: protocolVersion, nonce: challenges.make() }
    : { error: 'This is a Lockstep listener. Use `lockstep worker` or `lockstep status` to talk to it.' };
  response.writeHead(found ? 200 : 404, { 'content-type': 'application/json', connection: 'close' });
  response.end(JSON.stringify(body));
}

function admit(
  request: IncomingMessage,
  token: Token,
  challenges: Challenges,
): { proof: string } | { refusal: string } {
  const parsed = credentialsSchema.safeParse(request.headers);
  if (!parsed.success) return { refusal: 'it did not answer the challenge' };
  const protocol = parsed.data['x-lockstep-protocol'];
  if (protocol !== protocolVersion) {
    return { refusal: `it speaks protocol ${protocol}; this listener speaks ${protocolVersion}` };
  }
  const listener = parsed.data['x-lockstep-listener-nonce'];
  const nonces: Nonces = { listener, dialler: parsed.data['x-lockstep-dialler-nonce'] };
  if (!challenges.take(listener)) return { refusal: 'its challenge is unknown, used or too old' };
  if (!isProof(parsed.data[proofHeader], token, 'dialler', nonces)) return { refusal: 'its token is another one' };
  return { proof: proveToken(token, 'listener', nonces) };
}

function refuse(socket: Duplex, refusal: string): void {
  const body = JSON.stringify({ error: refusal });
  endForGood(socket, `HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
}

/** Also where the other side never closes its end: it would hold one of the connections, and `close()`, for ever. */
function endForGood(socket: Duplex, answer: string): void {
  socket.end(answer, () => socket.destroy());
}

function ignore(): void {
  // The socket closes after its error, and whoever waits for it sees that.
}

/** Nonces given out and not yet used; each good for one try. */
class Challenges {
  readonly #expiryMs = new Map<string, number>();
  readonly #lifetimeMs: number;

  constructor(lifetimeMs: number) {
    this.#lifetimeMs = lifetimeMs;
  }

  make(): string {
    const [oldest] = this.#expiryMs.keys();
    if (oldest !== undefined && this.#expiryMs.size >= maxChallenges) this.#expiryMs.delete(oldest);
    const nonce = makeNonce();
    this.#expiryMs.set(nonce, performance.now() + this.#lifetimeMs);
    return nonce;
  }

  take(nonce: string): boolean {
    const expiryMs = this.#expiryMs.get(nonce);
    this.#expiryMs.delete(nonce);
    return expiryMs !== undefined && performance.now() < expiryMs;
  }
}

function remoteOf(request: IncomingMessage): string {
  return request.socket.remoteAddress ?? 'this host';
}

/** Linux holds 107 bytes of a Unix socket's path (unix(7)); Node 20 cuts off the rest without a word. */
const maxUnixPathBytes = 107;

async function bind(server: Server, endpoint: Endpoint): Promise<void> {
  if (endpoint.kind === 'unix' && Buffer.byteLength(endpoint.path) > maxUnixPathBytes) {
    const found = `${endpoint.path} has ${Buffer.byteLength(endpoint.path)} bytes`;
    throw new LockstepError(
      'ERR_CONNECT',
      `The path of a Unix socket ${found}; ${maxUnixPathBytes} is the most. Set TMPDIR to a shorter folder.`,
    );
  }
  const listening = once(server, 'listening');
  if (endpoint.kind === 'unix') server.listen(endpoint.path);
  else server.listen(endpoint.port, endpoint.host);
  try {
    await listening;
  } catch (cause) {
    throw bindError(cause as NodeJS.ErrnoException, endpoint); // net's errors carry a code
  }
}

function bindError(cause: NodeJS.ErrnoException, endpoint: Endpoint): LockstepError {
  const where = formatEndpoint(endpoint);
  if (cause.code === 'EADDRINUSE') {
    const message = `${where} is in use by another process. Choose another port, or 0 for a free one.`;
    return new LockstepError('ERR_ADDRESS_IN_USE', message, { cause });
  }
  return new LockstepError('ERR_CONNECT', `Cannot listen on ${where}: ${cause.message}.`, { cause });
}

function boundEndpoint(server: Server, endpoint: Endpoint): Endpoint {
  if (endpoint.kind === 'unix') return endpoint;
  return { ...endpoint, port: (server.address() as AddressInfo).port }; // a TCP server's address is never a string
}
