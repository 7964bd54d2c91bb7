/** Connects to a listener: takes its challenge, proves the token, and has the token proved in return. */
import { request } from 'node:http';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { LockstepError, toLockstepError } from '../src/errors.js';
import { challengeSchema, isProof, makeNonce, proofHeader, proveToken } from '../src/protocol/authentication.js';
import type { Nonces, Token } from '../src/protocol/authentication.js';
import type { Limits } from '../src/protocol/limits.js';
import { protocolVersion } from '../src/protocol/version.js';
import { BulkReader } from './bulk-reader.js';
import { Connection } from './connection.js';
import { formatEndpoint, type Endpoint } from './endpoint.js';
import type { Impediment } from './impediment.js';

export interface DialOptions {
  readonly endpoint: Endpoint;
  readonly token: Token | null;
  readonly limits: Limits;
  /** Largest message, in bytes. */
  readonly maxMessageBytes: number;
  /** Bulk messages follow the control messages. @default false */
  readonly bulk?: boolean;
  readonly signal?: AbortSignal;
  readonly impediment?: Impediment | undefined;
}

const retryMs = 200;

/**
 * Connects, trying again while nobody listens there, for `limits.connectTimeoutMs` in all; the first try may take longer.
 *
 * @throws LockstepError ERR_CONNECT when nobody answered in time, ERR_AUTHENTICATION when either token is wrong
 */
export async function dial(options: DialOptions): Promise<Connection> {
  const { limits } = options;
  const deadlineMs = performance.now() + limits.connectTimeoutMs;
  for (let leftMs = limits.authenticationTimeoutMs; ; leftMs = Math.max(1, Math.ceil(deadlineMs - performance.now()))) {
    const authenticationTimeoutMs = Math.min(limits.authenticationTimeoutMs, leftMs);
    try {
      return await dialOnce({ ...options, limits: { ...limits, authenticationTimeoutMs } });
    } catch (cause) {
      if (!isTransient(cause) || performance.now() + retryMs > deadlineMs) throw connectError(cause, options);
    }
    await delay(retryMs, undefined, options.signal ? { signal: options.signal } : {});
  }
}

async function dialOnce(options: DialOptions): Promise<Connection> {
  const token = options.token ?? '';
  const nonces: Nonces = { listener: await fetchChallenge(options), dialler: makeNonce() };
  const { endpoint, maxMessageBytes, impediment } = options;
  const reader = options.bulk === true ? new BulkReader() : null;
  const stream = connectTo(endpoint, reader);
  const socket = new WebSocket(endpoint.kind === 'unix' ? 'ws://localhost/' : formatEndpoint(endpoint), {
    headers: {
      'x-lockstep-protocol': String(protocolVersion),
      'x-lockstep-listener-nonce': nonces.listener,
      'x-lockstep-dialler-nonce': nonces.dialler,
      [proofHeader]: proveToken(token, 'dialler', nonces),
    },
    createConnection: () => stream,
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
    handshakeTimeout: options.limits.authenticationTimeoutMs,
    // Masks protect browsers' proxies; between two proven peers a mask of zeros spares a pass over every byte.
    generateMask: (mask) => mask.fill(0),
  });
  const connection = new Connection(socket, formatEndpoint(endpoint), {
    stream,
    reader,
    dialled: true,
    maxMessageBytes,
    impediment,
  });
  await opened(socket, token, nonces);
  return connection;
}

function connectTo(endpoint: Endpoint, reader: BulkReader | null): Socket {
  const where: NetConnectOpts =
    endpoint.kind === 'unix' ? { path: endpoint.path } : { host: endpoint.host, port: endpoint.port };
  const socket = connect({ ...where, ...(reader && { onread: reader.onread }) });
  reader?.attach(socket);
  return socket;
}

function fetchChallenge({ endpoint, limits, signal }: DialOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    const where =
      endpoint.kind === 'unix' ? { socketPath: endpoint.path } : { host: endpoint.host, port: endpoint.port };
    const options = { ...where, path: '/challenge', agent: false, timeout: limits.authenticationTimeoutMs };
    const asked = request({ ...options, ...(signal && { signal }) }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('error', reject);
      response.on('data', (text: string) => {
        body += text;
        if (body.length > 4096) asked.destroy(new Error('the answer to /challenge is too long'));
      });
      response.on('end', () => {
        try {
          resolve(readChallenge(body, endpoint));
        } catch (error) {
          reject(toLockstepError(error));
        }
      });
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${limits.authenticationTimeoutMs} ms`)));
    asked.on('error', reject);
    asked.end();
  });
}

function readChallenge(body: string, endpoint: Endpoint): string {
  const where = formatEndpoint(endpoint);
  const challenge = challengeSchema.safeParse(parseJson(body));
  if (!challenge.success)
    throw new LockstepError('ERR_PROTOCOL', `What listens on ${where} is no Lockstep coordinator.`);
  if (challenge.data.protocol === protocolVersion) return challenge.data.nonce;
  const message = `${where} speaks protocol ${challenge.data.protocol}; this process speaks ${protocolVersion}.`;
  throw new LockstepError('ERR_PROTOCOL', `${message} Install the same Lockstep on both.`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the schema says what is wrong with it
  }
}

function opened(socket: WebSocket, token: Token, nonces: Nonces): Promise<void> {
  return new Promise((resolve, reject) => {
    let proven = false;
    socket.on('upgrade', (response) => {
      proven = isProof(response.headers[proofHeader], token, 'listener', nonces);
    });
    socket.on('open', () => {
      if (proven) {
        resolve();
        return;
      }
      socket.terminate();
      reject(new LockstepError('ERR_AUTHENTICATION', 'The listener could not prove that it has the same token.'));
    });
    socket.on('unexpected-response', (asked, response) => {
      asked.destroy();
      const message = `The listener refused (${response.statusCode ?? 'no status'}): its token is another one.`;
      reject(new LockstepError('ERR_AUTHENTICATION', `${message} Give both sides the same --token-file.`));
    });
    socket.on('error', reject);
  });
}

const transientCodes: ReadonlySet<string> = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'ENOENT', 'EAGAIN'], // the process is not there
  ...['EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN'], // its host, or its host's name, is not
]);

/** Nobody there yet, or not any more: worth another try. */
function isTransient(cause: unknown): boolean {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  return typeof code === 'string' && transientCodes.has(code);
}

function connectError(cause: unknown, { endpoint, limits }: DialOptions): Error {
  if (cause instanceof LockstepError) return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  const message = `Cannot reach ${formatEndpoint(endpoint)} (${why}), tried for up to ${limits.connectTimeoutMs} ms.`;
  return new LockstepError('ERR_CONNECT', `${message} Is the coordinator running there, and is the address right?`, {
    cause,
  });
}
