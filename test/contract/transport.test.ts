/** What every transport must do. The suite runs on TCP and on a Unix socket alike. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { LockstepError } from '../../src/errors.js';
import type { Log } from '../../src/log.js';
import { defaultLimits, type Limits } from '../../src/protocol/limits.js';
import type { BulkHandler } from '../../transport/bulk.js';
import { joinFragments, type Connection } from '../../transport/connection.js';
import { dial, type DialOptions } from '../../transport/dialler.js';
import type { Endpoint } from '../../transport/endpoint.js';
import { Listener, type ListenOptions } from '../../transport/listener.js';

const token = 'a token of this test';
const maxMessageBytes = 1024 * 1024;
const anyMessage = z.record(z.string(), z.unknown());

class World {
  readonly warnings: string[] = [];
  readonly accepted: Connection[] = [];
  #waiting: ((connection: Connection) => void)[] = [];

  readonly log: Log = {
    debug: () => undefined,
    info: () => undefined,
    warn: (message) => this.warnings.push(message),
    error: (message) => this.warnings.push(message),
  };

  onConnection = (connection: Connection): void => {
    this.accepted.push(connection);
    this.#waiting.shift()?.(connection);
  };

  next(): Promise<Connection> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

function socketTo(endpoint: Endpoint): Socket {
  return endpoint.kind === 'unix' ? connect(endpoint.path) : connect(endpoint.port, endpoint.host);
}

/** Keeps what comes. */
class Collector implements BulkHandler {
  readonly headerBytes = 4;
  readonly messages: { readonly header: Uint8Array; readonly payload: Uint8Array }[] = [];
  /** The first byte of a header whose message has no place here. */
  refuses: number | null = null;
  #header = new Uint8Array();
  #payload: Uint8Array | null = null;
  #numHere = 0;

  begin(header: Uint8Array, numBytes: number): Uint8Array | null {
    this.#header = Uint8Array.from(header);
    this.#payload = header[0] === this.refuses ? null : new Uint8Array(new SharedArrayBuffer(numBytes));
    this.#numHere = 0;
    return this.#payload;
  }

  progress(numBytes: number): void {
    this.#numHere += numBytes;
  }

  end(): void {
    if (!this.#payload) return;
    expect(this.#numHere).toBe(this.#payload.byteLength);
    this.messages.push({ header: this.#header, payload: this.#payload });
  }
}

const headerOf = (index: number): Uint8Array => Uint8Array.of(index, 1, 2, 3);

const upgradeRequest =
  'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n';

/** A stranger that keeps its end open whatever the listener does. */
function connected(endpoint: Endpoint, bytes: string): Socket {
  const where = endpoint.kind === 'unix' ? { path: endpoint.path } : { port: endpoint.port, host: endpoint.host };
  const socket = connect({ ...where, allowHalfOpen: true });
  socket.on('error', () => undefined);
  if (bytes !== '') socket.write(bytes);
  return socket;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'none';
  } catch (error) {
    return error instanceof LockstepError ? error.code : String(error);
  }
}

async function answerTo(endpoint: Endpoint, bytes: string | Uint8Array): Promise<string> {
  const socket = socketTo(endpoint);
  socket.on('error', () => undefined);
  let answer = '';
  socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
  socket.write(bytes);
  await once(socket, 'close');
  return answer;
}

describe.each(['tcp', 'unix'] as const)('the %s transport', (kind) => {
  let folder: string;
  let world: World;
  let listener: Listener;

  const listen = async (options: Partial<ListenOptions> = {}): Promise<Listener> => {
    const endpoint: Endpoint =
      kind === 'unix' ? { kind, path: join(folder, 'l.sock') } : { kind, host: '127.0.0.1', port: 0 };
    const { log, onConnection } = world;
    return Listener.listen({ endpoint, token, limits: defaultLimits, maxMessageBytes, log, onConnection, ...options });
  };
  const reach = (options: Partial<DialOptions> = {}): Promise<Connection> =>
    dial({ endpoint: listener.endpoint, token, limits: defaultLimits, maxMessageBytes, ...options });
  const limits = (changes: Partial<Limits>): Limits => ({ ...defaultLimits, ...changes });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lockstep-test-'));
    world = new World();
    listener = await listen();
  });

  afterEach(async () => {
    await listener.close();
    await rm(folder, { recursive: true });
  });

  it('carries messages both ways, in order, also those sent before anybody reads', async () => {
    const accepted = world.next();
    const dialled = await reach();
    for (let i = 0; i < 100; i++) dialled.send({ i });
    const connection = await accepted;
    expect(await connection.receive(anyMessage, { what: 'first', timeoutMs: 5000 })).toEqual({ i: 0 });
    const rest: unknown[] = [];
    const all = new Promise<void>((resolve) => {
      connection.onMessage((message) => {
        rest.push(joinFragments(message));
        if (rest.length === 99) resolve();
      });
    });
    await all;
    connection.send({ back: true });
    expect(await dialled.receive(anyMessage, { what: 'answer', timeoutMs: 5000 })).toEqual({ back: true });
    dialled.close();
  });

  it('carries a bulk frame from shared memory, bit for bit, and tells when it has left', async () => {
    const accepted = world.next();
    const dialled = await reach();
    const shared = new Uint8Array(new SharedArrayBuffer(600_000)).map((_, i) => (i * 31) & 255);
    const received = accepted.then(
      (connection) =>
        new Promise<Uint8Array>((resolve) => {
          connection.onMessage((message) => {
            resolve(Buffer.concat(message));
          });
        }),
    );
    const left = new Promise<void>((resolve) => {
      dialled.sendBulk(Uint8Array.of(1, 2, 3), shared, resolve);
    });
    const whole = await received;
    await left;
    expect(whole.subarray(0, 3)).toEqual(Buffer.from([1, 2, 3]));
    expect(Buffer.compare(whole.subarray(3), Buffer.from(shared))).toBe(0);
    dialled.close();
  });

  describe.each([
    ['read to where they belong', true],
    ['read as Node reads any socket', false],
  ])('bulk messages that are %s', (_, bulk) => {
    /** Both ends, once both take bulk messages. */
    async function pair(theirs: BulkHandler, ours = new Collector()): Promise<readonly [Connection, Connection]> {
      await listener.close();
      listener = await listen({ bulk });
      const accepted = world.next();
      const dialled = await reach({ bulk });
      dialled.send({ last: true });
      const connection = await accepted;
      await connection.receive(anyMessage, { what: 'last', timeoutMs: 5000 });
      await Promise.all([
        connection.openBulk(theirs, { timeoutMs: 5000 }),
        dialled.openBulk(ours, { timeoutMs: 5000 }),
      ]);
      return [dialled, connection];
    }

    it('arrive both ways, bit for bit and in order, whatever their sizes', async () => {
      const [theirs, ours] = [new Collector(), new Collector()];
      const [dialled, connection] = await pair(theirs, ours);
      const sizes = [0, 1, 75, 78, 79, 200, 65_000, 65_489, 65_490, 0, 300_000, 5, 700_001, 16_384, 16_385, 3];
      const payloads = sizes.map((size, index) =>
        new Uint8Array(new SharedArrayBuffer(size)).map((_byte, i) => (i * 31 + index) & 255),
      );
      for (const [index, payload] of payloads.entries()) {
        for (const one of [dialled, connection]) one.sendBulk(headerOf(index), payload, () => undefined);
      }
      for (const collector of [theirs, ours]) {
        await vi.waitUntil(() => collector.messages.length === sizes.length);
        for (const [index, message] of collector.messages.entries()) {
          expect(Buffer.compare(message.header, headerOf(index))).toBe(0);
          expect(Buffer.compare(message.payload, Buffer.from(payloads[index] ?? []))).toBe(0);
        }
      }
      connection.close(1000, 'enough');
      expect(await dialled.closed).toEqual({ code: 1000, reason: 'enough' });
      expect((await connection.closed).code).toBe(1000);
    });

    it('go nowhere where their taker has no place for them', async () => {
      const theirs = new Collector();
      const [dialled] = await pair(theirs);
      theirs.refuses = 1;
      for (const index of [0, 1, 2]) dialled.sendBulk(headerOf(index), new Uint8Array(100_000), () => undefined);
      await vi.waitUntil(() => theirs.messages.length === 2);
      expect(theirs.messages.map(({ header }) => header[0])).toEqual([0, 2]);
      dialled.close();
    });

    it('end the connection where one is over the limit', async () => {
      const theirs = new Collector();
      const [dialled] = await pair(theirs);
      dialled.sendBulk(headerOf(0), new Uint8Array(maxMessageBytes), () => undefined);
      expect((await dialled.closed).code).toBe(1009);
      expect(theirs.messages).toEqual([]);
    });
  });

  it('waits no longer than it was told for a side that takes no bulk messages', async () => {
    const dialled = await reach({ bulk: true });
    expect(await codeOf(dialled.openBulk(new Collector(), { timeoutMs: 20 }))).toBe('ERR_TIMEOUT');
    dialled.close();
  });

  it('tells both sides of a close, with its reason', async () => {
    const accepted = world.next();
    const dialled = await reach();
    const connection = await accepted;
    connection.close(1008, 'not you');
    expect(await dialled.closed).toEqual({ code: 1008, reason: 'not you' });
    expect(connection.isOpen).toBe(false);
  });

  it('tells of a peer that vanishes', async () => {
    const accepted = world.next();
    const dialled = await reach();
    dialled.terminate();
    expect((await (await accepted).closed).code).toBe(1006);
  });

  it('closes on a message over the limit instead of taking it in', async () => {
    const accepted = world.next();
    const dialled = await reach();
    dialled.sendBulk(new Uint8Array(1), new Uint8Array(maxMessageBytes + 1), () => undefined);
    expect((await (await accepted).closed).code).toBe(1006);
    expect((await dialled.closed).code).toBe(1009);
  });

  it('refuses a message that does not fit its schema', async () => {
    const accepted = world.next();
    const dialled = await reach();
    dialled.send({ type: 'nonsense' });
    const receiving = (await accepted).receive(z.object({ type: z.literal('hello') }), {
      what: 'hello',
      timeoutMs: 5000,
    });
    await expect(receiving).rejects.toThrow('A control message does not fit: type');
    dialled.close();
  });

  it('gives up waiting for a message after its time', async () => {
    const dialled = await reach();
    expect(await codeOf(dialled.receive(anyMessage, { what: 'answer', timeoutMs: 20 }))).toBe('ERR_TIMEOUT');
    dialled.close();
  });

  it('refuses a dialler with another token, and says so on both sides', async () => {
    expect(await codeOf(reach({ token: 'another token, not this one' }))).toBe('ERR_AUTHENTICATION');
    expect(await codeOf(reach({ token: null }))).toBe('ERR_AUTHENTICATION');
    expect(world.accepted).toHaveLength(0);
    expect(world.warnings.join()).toContain('its token is another one');
  });

  it('never sends the token, nor takes a proof twice', async () => {
    const seen: Buffer[] = [];
    const proxy = createServer((from) => {
      const to = socketTo(listener.endpoint);
      from.on('data', (bytes) => seen.push(bytes));
      to.on('data', (bytes) => seen.push(bytes));
      from.on('error', () => undefined);
      to.on('error', () => undefined);
      from.pipe(to).pipe(from);
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    const { port } = proxy.address() as { port: number };
    const dialled = await reach({ endpoint: { kind: 'tcp', host: '127.0.0.1', port } });
    dialled.close();
    await dialled.closed;
    const text = Buffer.concat(seen).toString('latin1');
    expect(text).not.toContain(token);
    const upgrade = seen.map(String).find((part) => part.includes('Upgrade: websocket')) ?? '';
    expect(await answerTo(listener.endpoint, upgrade)).toContain('401 Unauthorized');
    expect(world.warnings.join()).toContain('its challenge is unknown, used or too old');
    proxy.close();
    await once(proxy, 'close');
  });

  it('refuses a listener that cannot prove the token', async () => {
    await listener.close();
    listener = await listen({ token: 'what an impostor guesses' });
    expect(await codeOf(reach())).toBe('ERR_AUTHENTICATION');
  });

  it('meets strangers with an HTTP error, and goes on', async () => {
    expect(await answerTo(listener.endpoint, Buffer.from([0, 255, 13, 10, 7, 7, 7, 13, 10]))).toContain(
      '400 Bad Request',
    );
    expect(await answerTo(listener.endpoint, `GET / HTTP/1.1\r\nA: ${'x'.repeat(100_000)}\r\n\r\n`)).toContain(
      '400 Bad',
    );
    const post = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n';
    expect(await answerTo(listener.endpoint, post)).toContain('404 Not Found');
    const bare = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
    expect(await answerTo(listener.endpoint, bare)).toContain('did not answer the challenge');
    expect(world.accepted).toHaveLength(0);
    const dialled = await reach();
    expect(dialled.isOpen).toBe(true);
    dialled.close();
  });

  it('cuts off a stranger that says nothing', async () => {
    await listener.close();
    listener = await listen({ limits: limits({ authenticationTimeoutMs: 50 }) });
    const silent = socketTo(listener.endpoint);
    silent.resume();
    await once(silent, 'close');
    expect(world.accepted).toHaveLength(0);
  });

  it('outlives a stranger that is refused and resets the connection', async () => {
    const thrown: unknown[] = [];
    const onThrown = (error: unknown): number => thrown.push(error);
    process.on('uncaughtExceptionMonitor', onThrown);
    const warned = world.warnings.length;
    const stranger = connected(listener.endpoint, upgradeRequest);
    await vi.waitUntil(() => world.warnings.length > warned);
    if (kind === 'tcp') stranger.resetAndDestroy();
    else stranger.destroy();
    await once(stranger, 'close');
    const dialled = await reach();
    expect(dialled.isOpen).toBe(true);
    dialled.close();
    process.off('uncaughtExceptionMonitor', onThrown);
    expect(thrown).toEqual([]);
  });

  it.each([
    ['an upgrade without proof', upgradeRequest],
    ['no HTTP', 'nonsense\r\n\r\n'],
    ['nothing', ''],
  ])('lets go of a stranger that says %s and never closes its end', async (_, bytes) => {
    await listener.close();
    listener = await listen({ limits: limits({ authenticationTimeoutMs: 50, maxConnections: 1 }) });
    const stranger = connected(listener.endpoint, bytes);
    await once(stranger.resume(), 'end');
    // Its place is free again, though it still holds its end.
    const dialled = await reach();
    expect(dialled.isOpen).toBe(true);
    dialled.close();
    stranger.destroy();
  });

  it('takes no more connections than its limit', async () => {
    await listener.close();
    listener = await listen({ limits: limits({ maxConnections: 1 }) });
    const first = await reach();
    expect(await codeOf(reach({ limits: limits({ connectTimeoutMs: 1 }) }))).toBe('ERR_CONNECT');
    expect(world.warnings.join()).toContain('1 are open, the limit');
    first.close();
  });

  it('says that nobody listens, after the time that it was given', async () => {
    const { endpoint } = listener;
    await listener.close();
    const dialling = dial({ endpoint, token, limits: limits({ connectTimeoutMs: 1 }), maxMessageBytes });
    await expect(dialling).rejects.toThrow('Is the coordinator running there');
    listener = await listen();
  });

  it('waits for a listener that comes later', async () => {
    const { endpoint } = listener;
    await listener.close();
    const dialling = dial({ endpoint, token, limits: defaultLimits, maxMessageBytes });
    listener = await Listener.listen({
      endpoint,
      token,
      limits: defaultLimits,
      maxMessageBytes,
      log: world.log,
      onConnection: world.onConnection,
    });
    (await dialling).close();
  });

  it('says that its address is taken', async () => {
    expect(await codeOf(listen({ endpoint: listener.endpoint }))).toBe('ERR_ADDRESS_IN_USE');
  });

  it('answers a curious person in words', async () => {
    const where =
      listener.endpoint.kind === 'unix' ? { socketPath: listener.endpoint.path } : { port: listener.endpoint.port };
    const asked = request({ ...where, agent: false });
    asked.end();
    const [response] = (await once(asked, 'response')) as [NodeJS.ReadableStream];
    let body = '';
    for await (const piece of response) body += String(piece);
    expect(body).toContain('This is a Lockstep listener');
  });
});

describe('a Unix socket', () => {
  it('with a path that the system would cut off is refused', async () => {
    const endpoint = { kind: 'unix', path: join(tmpdir(), 'x'.repeat(108)) } as const;
    const { log, onConnection } = new World();
    const options = { endpoint, token: null, limits: defaultLimits, maxMessageBytes, log, onConnection };
    await expect(Listener.listen(options)).rejects.toThrow('107 is the most');
  });
});

describe('beyond this host', () => {
  it('nothing listens without a token', async () => {
    const endpoint = { kind: 'tcp', host: '0.0.0.0', port: 0 } as const;
    const { log, onConnection } = new World();
    const options = { endpoint, token: null, limits: defaultLimits, maxMessageBytes, log, onConnection };
    expect(await codeOf(Listener.listen(options))).toBe('ERR_LISTEN_NOT_ALLOWED');
  });
});
