/**
 * The all-reduce by itself: one process for each rank with a worker's own comm thread, and neither TensorFlow nor an
 * optimizer. The coordinator that their comm threads dial makes one generation of them all, and nothing else.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { LockstepError } from '../../src/errors.js';
import type { Log } from '../../src/log.js';
import { defaultLimits } from '../../src/protocol/limits.js';
import { fromWorkerSchema, type Addresses, type Generation } from '../../src/protocol/messages.js';
import type { Connection } from '../../transport/connection.js';
import { parseEndpoint, type Endpoint } from '../../transport/endpoint.js';
import { Listener } from '../../transport/listener.js';
import { fromPlainError } from '../comm/channel.js';
import type { FromRank, Repeats, ToRank } from './rank-channel.js';

export interface AllReduceOptions {
  /** At least 2. */
  readonly numWorkers: number;
  /** A multiple of 4. */
  readonly bytes: number;
  /** Through loopback TCP and nothing else, as between hosts. @default as between workers of one host, in memory */
  readonly tcp?: boolean;
  readonly log: Log;
}

/** One size, as nccl-tests reports it. */
export interface AllReduceMeasurement {
  readonly workers: number;
  readonly bytes: number;
  readonly microseconds: number;
  /** Bytes / time * 2 (n - 1) / n, in GB/s. */
  readonly busbw: number;
}

/** Bytes to reduce for one size, about; with the bounds below, as bench/peers/gloo_allreduce.py has it. */
const volumeBytes = 256 * 2 ** 20;
const fewestTimed = 5;
const mostTimed = 300;

/** Calls after which JavaScript has been compiled; a peer in C++ is at its full speed with the first. */
const mostWarmups = 2_000;
const fewestWarmups = 3;
const warmupBytes = 2 ** 30;

const timeoutMs = 300_000;

/** @throws LockstepError whatever ended a rank; ERR_INTERNAL if a sum is wrong; ERR_TIMEOUT */
export async function measureAllReduce(options: AllReduceOptions): Promise<AllReduceMeasurement> {
  const { numWorkers, bytes, tcp = false, log } = options;
  const token = randomBytes(32).toString('hex');
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-bench-'));
  const endpoint: Endpoint = { kind: 'unix', path: join(folder, 'coordinator.sock') };
  const listening = { endpoint, token, limits: defaultLimits, maxMessageBytes: 65_536, log };
  const coordinator = new OneGeneration(numWorkers);
  const onConnection = (connection: Connection): void => {
    coordinator.add(connection);
  };
  const listener = await Listener.listen({ ...listening, onConnection });
  const ranks = Array.from({ length: numWorkers }, (_, rank) => new RankProcess(rank, folder));
  try {
    const listen = tcp ? parseEndpoint('127.0.0.1:0') : null;
    const start = { type: 'start', coordinator: endpoint, token, listen } as const;
    for (const rank of ranks) rank.send({ ...start, workerId: rank.workerId });
    const addresses = await Promise.all(ranks.map(async (rank) => (await rank.next('listening')).addresses));
    for (const [rank, process] of ranks.entries()) {
      process.send({ type: 'measure', rank, numRanks: numWorkers, repeats: repeatsOf(bytes) });
    }
    await Promise.all(ranks.map((rank) => rank.next('prepared')));
    await coordinator.start(addresses.map((one) => (tcp ? { ...one, unixPath: null } : one)));
    const [first] = await Promise.all(ranks.map((rank) => rank.next('measured')));
    await Promise.all(ranks.map((rank) => rank.end()));
    return measurement(numWorkers, bytes, first?.seconds ?? NaN);
  } finally {
    for (const rank of ranks) rank.kill();
    await listener.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** What a coordinator does once all workers are ready. */
class OneGeneration {
  readonly #connections: Connection[] = [];
  readonly #all: Promise<void>;
  #complete: () => void = () => undefined;
  readonly #numWorkers: number;

  constructor(numWorkers: number) {
    this.#numWorkers = numWorkers;
    this.#all = new Promise((resolve) => (this.#complete = resolve));
  }

  add(connection: Connection): void {
    this.#connections.push(connection);
    if (this.#connections.length === this.#numWorkers) this.#complete();
  }

  /** @param addresses by rank */
  async start(addresses: readonly Addresses[]): Promise<void> {
    await this.#all;
    const { generation } = generationOf(addresses);
    for (const connection of this.#connections) connection.send({ type: 'generation', ...generationOf(addresses) });
    const options = { what: 'connected', timeoutMs };
    const said = await Promise.all(
      this.#connections.map((connection) => connection.receive(fromWorkerSchema, options)),
    );
    const inMemory = said.every((message) => message.type === 'connected' && message.prefersMemory);
    for (const connection of this.#connections)
      connection.send({ type: 'start', generation, inMemory, told: 0, validated: 0 });
  }
}

/** The process of one rank, and what it says in turn. */
class RankProcess {
  readonly workerId: string;
  readonly #child: ChildProcess;

  /** @param folder for its sockets, so that none is left of a rank that is killed */
  constructor(rank: number, folder: string) {
    this.workerId = `w${rank}`;
    const env = { ...process.env, TMPDIR: folder };
    this.#child = fork(new URL('./rank-process.js', import.meta.url), { serialization: 'advanced', env });
  }

  send(message: ToRank): void {
    this.#child.send(message);
  }

  /** What the rank says next, which has to be of this type. */
  async next<T extends FromRank['type']>(type: T): Promise<Extract<FromRank, { type: T }>> {
    const abort = new AbortController();
    const signal = AbortSignal.any([abort.signal, AbortSignal.timeout(timeoutMs)]);
    try {
      const ended = once(this.#child, 'exit', { signal }).then(([code, killedBy]: unknown[]) => {
        const how = typeof killedBy === 'string' ? `was killed by ${killedBy}` : `exited with code ${String(code)}`;
        throw new LockstepError('ERR_WORKER_LOST', `Rank ${this.workerId} ${how}; expected its "${type}".`);
      });
      const [message] = (await Promise.race([once(this.#child, 'message', { signal }), ended])) as [FromRank];
      if (message.type === 'failed') throw fromPlainError(message.error);
      return message as Extract<FromRank, { type: T }>; // a rank answers each message with its own type
    } catch (error) {
      if (!signal.aborted) throw error;
      throw new LockstepError('ERR_TIMEOUT', `Rank ${this.workerId} did not say "${type}" within ${timeoutMs} ms.`);
    } finally {
      abort.abort();
    }
  }

  async end(): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.send({ type: 'end' });
    await exited;
  }

  kill(): void {
    if (this.#child.exitCode === null) this.#child.kill('SIGKILL');
  }
}

/** Each holds the slot of its rank. */
function generationOf(addresses: readonly Addresses[]): Generation {
  const workers = addresses.map((own, rank) => ({
    workerId: `w${rank}`,
    rank,
    host: hostname(),
    firstSlot: rank,
    endSlot: rank + 1,
    addresses: own,
    step: null,
  }));
  return { generation: 1, step: 0, resumeFrom: null, workers };
}

function repeatsOf(bytes: number): Repeats {
  const numTimed = Math.max(fewestTimed, Math.min(mostTimed, Math.floor(volumeBytes / bytes)));
  const numWarmups = Math.max(fewestWarmups, Math.min(mostWarmups, Math.floor(warmupBytes / bytes)));
  return { bytes, numWarmups, numTimed };
}

function measurement(workers: number, bytes: number, seconds: number): AllReduceMeasurement {
  const busbw = ((bytes / seconds) * 2 * (workers - 1)) / workers / 1e9;
  const microseconds = Math.round(seconds * 1e7) / 10;
  return { workers, bytes, microseconds, busbw: Number(busbw.toPrecision(4)) };
}
