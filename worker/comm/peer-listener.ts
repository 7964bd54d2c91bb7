/** Where this worker can be reached by its peers: always a Unix socket, and a TCP port where it was given an address. */
import { rm } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { defaultBucketBytes } from '../../src/collective/buckets.js';
import type { Log, LogFields, LogLevel } from '../../src/log.js';
import type { Addresses } from '../../src/protocol/messages.js';
import type { Connection } from '../../transport/connection.js';
import { hostAndPort, type Endpoint } from '../../transport/endpoint.js';
import type { Impediment } from '../../transport/impediment.js';
import { Listener } from '../../transport/listener.js';
import type { CommOptions, FromComm } from './channel.js';
import { hostId } from './host-id.js';
import { makePeerFolder, socketIn } from './peer-folder.js';

/** Who takes the connections that peers open. */
export interface PeerAcceptor {
  accept(connection: Connection): Promise<void>;
}

/** A frame carries a chunk, which is a bucket at most; its header and a peer's hello are far below the rest. */
export const maxFrameBytes = defaultBucketBytes + 64 * 1024;

export class PeerListener {
  readonly addresses: Addresses;
  readonly #folder: string;
  readonly #listeners: readonly Listener[];
  readonly #inbound: Inbound;

  private constructor(addresses: Addresses, folder: string, listeners: readonly Listener[], inbound: Inbound) {
    this.addresses = addresses;
    this.#folder = folder;
    this.#listeners = listeners;
    this.#inbound = inbound;
  }

  static async listen(
    options: CommOptions,
    impediment: Impediment,
    post: (message: FromComm) => void,
  ): Promise<PeerListener> {
    const folder = await makePeerFolder();
    const unix: Endpoint = { kind: 'unix', path: socketIn(folder) };
    const endpoints = options.listen ? [unix, options.listen] : [unix];
    const inbound = new Inbound();
    const log = threadLog(post);
    const { token, limits } = options;
    const onConnection = (connection: Connection): void => {
      inbound.add(connection, log);
    };
    const listeners: Listener[] = [];
    try {
      for (const endpoint of endpoints) {
        const listening = { endpoint, token, limits, maxMessageBytes: maxFrameBytes, bulk: true, impediment, log };
        listeners.push(await Listener.listen({ ...listening, onConnection }));
      }
    } catch (error) {
      await closeAll(listeners, folder);
      throw error;
    }
    const tcp = listeners.flatMap(({ endpoint }) => (endpoint.kind === 'tcp' ? reachable(endpoint) : []));
    return new PeerListener({ hostId: await hostId(), unixPath: unix.path, tcp }, folder, listeners, inbound);
  }

  /** Gives connections to this acceptor from now on, those that wait first. */
  deliverTo(acceptor: PeerAcceptor): void {
    this.#inbound.deliverTo(acceptor);
  }

  /** Until the next acceptor: what comes now is of its generation. */
  holdBack(): void {
    this.#inbound.holdBack();
  }

  async close(): Promise<void> {
    await closeAll(this.#listeners, this.#folder);
  }
}

async function closeAll(listeners: readonly Listener[], folder: string): Promise<void> {
  await Promise.all(listeners.map((listener) => listener.close()));
  await rm(folder, { recursive: true, force: true });
}

/** Connections wait here while this worker is in no generation. */
class Inbound {
  #acceptor: PeerAcceptor | null = null;
  #waiting: { readonly connection: Connection; readonly log: Log }[] = [];

  add(connection: Connection, log: Log): void {
    if (this.#acceptor) void hand(this.#acceptor, connection, log);
    else this.#waiting.push({ connection, log });
  }

  deliverTo(acceptor: PeerAcceptor): void {
    this.#acceptor = acceptor;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { connection, log } of waiting) if (connection.isOpen) void hand(acceptor, connection, log);
  }

  holdBack(): void {
    this.#acceptor = null;
  }
}

/** A peer that does not fit is refused and logged; it harms nothing. */
async function hand(acceptor: PeerAcceptor, connection: Connection, log: Log): Promise<void> {
  try {
    await acceptor.accept(connection);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    log.warn(`refused a peer: ${why}`, { remote: connection.remote });
    connection.close(1008, why);
  }
}

function threadLog(post: (message: FromComm) => void): Log {
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      post({ type: 'log', level, message, fields });
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** The addresses of a listener as others see it; a wildcard stands for each network address of this host. */
function reachable({ host, port }: Extract<Endpoint, { kind: 'tcp' }>): string[] {
  if (host !== '0.0.0.0' && host !== '::') return [hostAndPort(host, port)];
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  // Link-local addresses (RFC 4291) mean nothing without the name of a network card.
  const usable = all.filter(({ internal, address }) => !internal && !address.startsWith('fe80:'));
  return usable.map(({ address }) => hostAndPort(address, port));
}
