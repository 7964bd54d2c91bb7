/**
 * The connections between the workers of one generation, one for each pair: the lower rank dials. A worker that dials
 * early waits for the answer, so nobody sends before the other side can take it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { LockstepError, toLockstepError } from '../../src/errors.js';
import type { Limits } from '../../src/protocol/limits.js';
import type { Generation, RosterEntry } from '../../src/protocol/messages.js';
import {
  peerHelloSchema,
  peerReadySchema,
  peerWelcomeSchema,
  type SharedMemory,
} from '../../src/protocol/peer-messages.js';
import type { BulkHandler } from '../../transport/bulk.js';
import type { Connection } from '../../transport/connection.js';
import { dial } from '../../transport/dialler.js';
import { parseEndpoint, type Endpoint } from '../../transport/endpoint.js';
import type { Impediment } from '../../transport/impediment.js';

export interface PeerLinksOptions {
  readonly runId: string;
  readonly generation: Generation;
  readonly rank: number;
  readonly hostId: string;
  readonly token: string | null;
  readonly limits: Limits;
  readonly maxMessageBytes: number;
  readonly impediment?: Impediment;
  readonly signal: AbortSignal;
  /** This worker's memory, for peers of its host; null where it cannot be shared. */
  readonly memory: SharedMemory | null;
  /** Mounts a peer's memory, where that can be done. Whether it was. */
  readonly mount: (rank: number, memory: SharedMemory) => boolean;
  /** What takes the frames of a rank. */
  readonly frames: (rank: number) => BulkHandler;
}

export interface PeerLink {
  readonly connection: Connection;
  /** The peer reads this worker's memory in place. */
  readonly readsOurs: boolean;
  /** This worker reads the peer's. */
  readonly readsTheirs: boolean;
}

/** Between two tries to meet a peer. */
const retryMs = 200;

/** With which peer-listener.ts closes the connection of a peer that does not fit. */
const refusedCode = 1008;

export class PeerLinks {
  readonly #options: PeerLinksOptions;
  readonly #links = new Map<number, PeerLink>();
  readonly #complete: Promise<void>;
  #numOpen = 0;
  #settle: () => void = () => undefined;

  constructor(options: PeerLinksOptions) {
    this.#options = options;
    this.#complete = new Promise((resolve) => (this.#settle = resolve));
    this.#settleIfComplete();
  }

  /** By rank. */
  get links(): ReadonlyMap<number, PeerLink> {
    return this.#links;
  }

  /** Dials the higher ranks and resolves when every rank is connected. */
  async connect(): Promise<void> {
    const { generation, rank } = this.#options;
    await Promise.all(generation.workers.filter((peer) => peer.rank > rank).map((peer) => this.#dial(peer)));
    await this.#complete;
  }

  /** A connection that a lower rank opened; it has said nothing yet. */
  async accept(connection: Connection): Promise<void> {
    const { runId, generation, rank, limits } = this.#options;
    const timeoutMs = limits.authenticationTimeoutMs;
    const hello = await connection.receive(peerHelloSchema, { what: 'peer-hello', timeoutMs });
    const peer = generation.workers[hello.rank];
    const known = hello.runId === runId && hello.generation === generation.generation && hello.rank < rank;
    if (!known || peer?.workerId !== hello.workerId || this.#links.has(hello.rank)) {
      const found = `worker ${hello.workerId} as rank ${hello.rank} of generation ${hello.generation}, run ${hello.runId}`;
      const expected = `a lower rank than ${rank} of generation ${generation.generation}, run ${runId}`;
      throw new LockstepError('ERR_PROTOCOL', `A peer came as ${found}; expected ${expected}.`);
    }
    const readsTheirs = this.#mount(hello.rank, hello.memory);
    const { memory } = this.#options;
    connection.send({ type: 'peer-welcome', generation: generation.generation, memory, mounts: readsTheirs });
    const { mounts } = await connection.receive(peerReadySchema, { what: 'peer-ready', timeoutMs });
    await this.#open(hello.rank, { connection, readsTheirs, readsOurs: mounts }, timeoutMs);
  }

  close(): void {
    for (const { connection } of this.#links.values()) connection.terminate();
  }

  /** A peer that dies before it has answered is tried again: what that means the coordinator decides, and ends this generation. */
  async #dial(peer: RosterEntry): Promise<void> {
    const { limits, signal } = this.#options;
    const deadlineMs = performance.now() + limits.connectTimeoutMs;
    for (;;) {
      const failures: LockstepError[] = [];
      if (await this.#reach(peer, deadlineMs - performance.now(), failures)) return;
      const isHopeless = signal.aborted || !failures.some(isCutOff);
      if (isHopeless || performance.now() + retryMs > deadlineMs) throw unreachable(peer, failures);
      await delay(retryMs, undefined, { signal });
    }
  }

  /**
   * Tries the peer's addresses in turn: one of several network cards may be out of reach from here, and an address that
   * each host has for itself leads to another worker. Whether one leads there; the failures where none does.
   */
  async #reach(peer: RosterEntry, timeoutMs: number, failures: LockstepError[]): Promise<boolean> {
    const { hostId, signal } = this.#options;
    const endpoints = endpointsOf(peer, hostId);
    for (const endpoint of endpoints) {
      try {
        await this.#meet(peer.rank, endpoint, Math.ceil(timeoutMs / endpoints.length));
        return true;
      } catch (thrown) {
        failures.push(toLockstepError(thrown, 'ERR_CONNECT'));
      }
      if (signal.aborted) break;
    }
    return false;
  }

  /** Says hello to whoever listens there; resolves when welcome. */
  async #meet(peer: number, endpoint: Endpoint, timeoutMs: number): Promise<void> {
    const { runId, generation, rank, token, limits, maxMessageBytes, impediment, signal, memory } = this.#options;
    const authenticationTimeoutMs = Math.min(limits.authenticationTimeoutMs, timeoutMs);
    const share = { ...limits, connectTimeoutMs: timeoutMs, authenticationTimeoutMs };
    const connection = await dial({ endpoint, token, limits: share, maxMessageBytes, bulk: true, impediment, signal });
    const abandon = (): void => {
      connection.terminate();
    };
    signal.addEventListener('abort', abandon, { once: true });
    if (signal.aborted) abandon();
    const { workerId = '' } = generation.workers[rank] ?? {};
    connection.send({ type: 'peer-hello', runId, generation: generation.generation, rank, workerId, memory });
    const welcome = await connection.receive(peerWelcomeSchema, { what: 'peer-welcome', timeoutMs });
    const readsTheirs = this.#mount(peer, welcome.memory);
    connection.send({ type: 'peer-ready', mounts: readsTheirs });
    await this.#open(peer, { connection, readsTheirs, readsOurs: welcome.mounts }, timeoutMs);
  }

  #mount(rank: number, memory: SharedMemory | null): boolean {
    return memory !== null && this.#options.mount(rank, memory);
  }

  /** The link is known before it is open: a frame may come together with the word that frames may come, and is answered. */
  async #open(rank: number, link: PeerLink, timeoutMs: number): Promise<void> {
    this.#links.set(rank, link);
    try {
      await link.connection.openBulk(this.#options.frames(rank), { timeoutMs });
    } catch (error) {
      this.#links.delete(rank);
      throw error;
    }
    if (this.#options.signal.aborted) link.connection.terminate();
    this.#numOpen++;
    this.#settleIfComplete();
  }

  #settleIfComplete(): void {
    if (this.#numOpen === this.#options.generation.workers.length - 1) this.#settle();
  }
}

/** It was there, and closed the connection without a word of why. */
function isCutOff({ details }: LockstepError): boolean {
  return typeof details['closeCode'] === 'number' && details['closeCode'] !== refusedCode;
}

function unreachable({ workerId, host, addresses }: RosterEntry, failures: readonly LockstepError[]): LockstepError {
  const why = failures.map(({ message }) => message).join(' ');
  const message = `Worker ${workerId} on ${host} cannot be reached from here: ${why}`;
  return new LockstepError(failures[0]?.code ?? 'ERR_CONNECT', message, {
    details: { workerId, addresses: addresses.tcp },
  });
}

/** The Unix socket of a worker of this host; the TCP addresses of any other. */
function endpointsOf({ addresses, workerId }: RosterEntry, hostId: string): Endpoint[] {
  const { unixPath, tcp } = addresses;
  if (addresses.hostId === hostId && unixPath !== null) return [{ kind: 'unix', path: unixPath }];
  if (tcp.length > 0) return tcp.map(parseEndpoint);
  throw new LockstepError(
    'ERR_CONNECT',
    `Worker ${workerId} runs on another host and listens on no network address. Start it with --listen HOST:PORT.`,
  );
}
