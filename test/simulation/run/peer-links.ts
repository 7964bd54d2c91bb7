/** The links of one generation, one for each pair, which the lower rank dials: what worker/comm/peer-links.ts does with sockets. */
import type { Entry } from '../../../src/membership/participant.js';
import { LockstepError } from '../../../src/errors.js';
import type { MomentFrame } from './moments.js';
import { End } from './network.js';
import type { Process } from './process.js';
import type { StepFrame } from './reduction.js';
import type { StateFrame } from './state-transfer.js';
import type { World } from './world.js';

export type Frame = StepFrame | StateFrame | MomentFrame;

export type PeerMessage =
  | { readonly type: 'peer-hello'; readonly generation: number; readonly rank: number; readonly workerId: string }
  | { readonly type: 'peer-welcome' | 'peer-ready' }
  | Frame;

export interface PeerLinksOptions {
  readonly world: World;
  readonly process: Process;
  readonly entry: Entry;
  readonly onLinked: () => void;
  readonly onFrame: (from: number, frame: Frame) => void;
  /** A link that was there is lost. */
  readonly onGone: (rank: number) => void;
  /** There is no way to a peer. */
  readonly onFailure: (error: LockstepError) => void;
}

const retryMs = 200;

export class PeerLinks {
  readonly #options: PeerLinksOptions;
  readonly #links = new Map<number, End<PeerMessage>>();
  readonly #ends = new Set<End<PeerMessage>>();
  #isClosed = false;

  constructor(options: PeerLinksOptions) {
    this.#options = options;
  }

  get(rank: number): End<PeerMessage> | undefined {
    return this.#links.get(rank);
  }

  connect(): void {
    const { world, entry } = this.#options;
    const deadlineMs = world.clock.nowMs + world.patience.connectTimeoutMs;
    for (const { rank } of entry.generation.workers) if (rank > entry.self.rank) this.#dial(rank, deadlineMs);
    this.#settleIfComplete();
  }

  /** A connection that a lower rank opened. */
  accept(end: End<PeerMessage>): void {
    const { entry } = this.#options;
    const { generation, workers } = entry.generation;
    let from = -1;
    end.listen({
      onMessage: (message) => {
        if (message.type === 'peer-hello') {
          const { rank } = message;
          const isKnown = message.generation === generation && workers[rank]?.workerId === message.workerId;
          if (this.#isClosed || !isKnown || rank >= entry.self.rank || this.#links.has(rank)) {
            end.terminate();
            return;
          }
          from = rank;
          this.#ends.add(end);
          end.send({ type: 'peer-welcome' });
        } else if (message.type === 'peer-ready') this.#add(from, end);
        else this.#onFrame(from, message);
      },
      onClosed: () => {
        this.#onClosed(from);
      },
    });
  }

  close(): void {
    this.#isClosed = true;
    for (const end of this.#ends) end.terminate();
  }

  #dial(rank: number, deadlineMs: number): void {
    const { world, process, entry } = this.#options;
    const peer = entry.generation.workers[rank];
    const to = world.listeners.get(peer?.addresses.tcp[0] ?? '');
    if (this.#isClosed || !to) return;
    End.dial(world.network, process, to, (end) => {
      if (end) this.#meet(rank, end, deadlineMs);
      else this.#dialAgain(rank, deadlineMs);
    });
  }

  #dialAgain(rank: number, deadlineMs: number): void {
    const { world, process } = this.#options;
    if (world.clock.nowMs + retryMs > deadlineMs) this.#fail('ERR_CONNECT', `rank ${rank} cannot be reached`);
    else {
      process.after(retryMs, () => {
        this.#dial(rank, deadlineMs);
      });
    }
  }

  #meet(rank: number, end: End<PeerMessage>, deadlineMs: number): void {
    const { world, process, entry } = this.#options;
    this.#ends.add(end);
    if (this.#isClosed) end.terminate();
    const { generation, workers } = entry.generation;
    end.send({
      type: 'peer-hello',
      generation,
      rank: entry.self.rank,
      workerId: workers[entry.self.rank]?.workerId ?? '',
    });
    end.listen({
      onMessage: (message) => {
        if (message.type === 'peer-welcome') {
          end.send({ type: 'peer-ready' });
          this.#add(rank, end);
        } else this.#onFrame(rank, message);
      },
      onClosed: () => {
        if (this.#links.get(rank) === end) this.#onClosed(rank);
        else this.#dialAgain(rank, deadlineMs);
      },
    });
    process.after(deadlineMs - world.clock.nowMs, () => {
      if (!this.#links.has(rank)) this.#fail('ERR_TIMEOUT', `rank ${rank} gave no welcome`);
    });
  }

  #add(rank: number, end: End<PeerMessage>): void {
    this.#links.set(rank, end);
    this.#settleIfComplete();
  }

  #settleIfComplete(): void {
    const { entry, onLinked } = this.#options;
    if (!this.#isClosed && this.#links.size === entry.generation.workers.length - 1) onLinked();
  }

  #onFrame(from: number, message: PeerMessage): void {
    if (this.#isClosed || message.type.startsWith('peer-')) return;
    this.#options.onFrame(from, message as Frame); // all that do not begin so are frames
  }

  #onClosed(rank: number): void {
    if (!this.#isClosed && this.#links.has(rank)) this.#options.onGone(rank);
  }

  #fail(code: 'ERR_CONNECT' | 'ERR_TIMEOUT', why: string): void {
    if (!this.#isClosed) this.#options.onFailure(new LockstepError(code, why));
  }
}
