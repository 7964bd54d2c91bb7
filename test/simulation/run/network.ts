/**
 * Connections between processes, as TCP has them: each direction keeps its order, nothing is lost between two that live, and a
 * partition holds back what is under way until it ends. What is sent on different connections overtakes one another by chance.
 */
import type { Clock } from './clock.js';
import type { Process } from './process.js';

/** What travels in one direction. */
type Item<M> = { readonly type: 'message'; readonly message: M } | { readonly type: 'opened' | 'refused' | 'closed' };

/** How to send a message whose content is read when it leaves its sender's memory, which is told. */
export interface Bulk<M> {
  readonly make: () => M;
  readonly onSent: () => void;
}

export interface EndHandlers<M> {
  readonly onMessage: (message: M) => void;
  /** By the other side, or its death. */
  readonly onClosed: () => void;
}

/** One process's end of a connection. Both sides send the same type. */
export class End<M> {
  readonly #network: Network;
  readonly #process: Process;
  #other: End<M> | null = null;
  #state: 'opening' | 'open' | 'closed' = 'opening';
  #handlers: EndHandlers<M> | null = null;
  #unread: M[] = [];
  #unsent: Bulk<M>[] = [];
  /** On their way to this end. */
  #arriving: Item<M>[] = [];
  #settle: ((isOpen: boolean) => void) | null = null;

  private constructor(network: Network, process: Process) {
    this.#network = network;
    this.#process = process;
    process.onDead((leavesWord) => {
      if (leavesWord) this.terminate();
      else this.#state = 'closed';
    });
  }

  /** The caller is told whether somebody has answered; where the other's host is gone, never. */
  static dial<M>(network: Network, from: Process, to: Listening<M>, settle: (end: End<M> | null) => void): void {
    const end = new End<M>(network, from);
    const other = new End<M>(network, to.process);
    end.#other = other;
    other.#other = end;
    end.#settle = (isOpen) => {
      settle(isOpen ? end : null);
    };
    network.carry(from.place, to.process.place, () => {
      if (to.process.isDead) {
        other.#send({ type: 'refused' });
        return;
      }
      // A process that is stopped takes connections, and proves no token.
      to.process.run(() => {
        if (other.#state === 'closed') return;
        other.#state = 'open';
        other.#send({ type: 'opened' });
        to.onConnection(other);
      });
    });
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** Hands over what comes, first what waits. */
  listen(handlers: EndHandlers<M>): void {
    this.#handlers = handlers;
    const unread = this.#unread;
    this.#unread = [];
    for (const message of unread) handlers.onMessage(message);
    if (this.#state === 'closed') handlers.onClosed();
  }

  send(message: M): void {
    if (this.isOpen) this.#send({ type: 'message', message });
  }

  sendBulk(bulk: Bulk<M>): void {
    if (!this.isOpen) return;
    this.#unsent.push(bulk);
    this.#process.after(this.#network.leavingMs(), () => {
      this.#leave();
    });
  }

  /** What has not left is lost. */
  terminate(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#unsent = [];
    this.#send({ type: 'closed' });
  }

  #leave(): void {
    const bulk = this.#unsent.shift();
    if (!bulk || !this.isOpen) return;
    this.#send({ type: 'message', message: bulk.make() });
    bulk.onSent();
  }

  /** Each arrival takes the first that is under way, so that none overtakes another. */
  #send(item: Item<M>): void {
    const other = this.#other;
    if (!other) return;
    other.#arriving.push(item);
    this.#network.carry(this.#process.place, other.#process.place, () => {
      const first = other.#arriving.shift();
      other.#process.run(() => {
        if (first) other.#take(first);
      });
    });
  }

  #take(item: Item<M>): void {
    if (this.#state === 'closed') return;
    switch (item.type) {
      case 'opened':
        this.#state = 'open';
        this.#settle?.(true);
        break;
      case 'refused':
        this.#state = 'closed';
        this.#settle?.(false);
        break;
      case 'closed':
        this.#state = 'closed';
        this.#unsent = [];
        this.#handlers?.onClosed();
        break;
      case 'message':
        if (this.#handlers) this.#handlers.onMessage(item.message);
        else this.#unread.push(item.message);
    }
  }
}

export interface Listening<M> {
  readonly process: Process;
  readonly onConnection: (end: End<M>) => void;
}

export class Network {
  readonly #clock: Clock;
  readonly #random: () => number;
  /** By direction: how many partitions cut it, and what they hold back. */
  readonly #cuts = new Map<number, { count: number; held: (() => void)[] }>();
  readonly #delaysMs = new Map<number, number>();

  constructor(clock: Clock, random: () => number) {
    this.#clock = clock;
    this.#random = random;
  }

  /** One way from a place to another one. */
  cut(from: number, to: number): void {
    const key = direction(from, to);
    const cut = this.#cuts.get(key) ?? { count: 0, held: [] };
    cut.count++;
    this.#cuts.set(key, cut);
  }

  mend(from: number, to: number): void {
    const cut = this.#cuts.get(direction(from, to));
    if (!cut || --cut.count > 0) return;
    this.#cuts.delete(direction(from, to));
    for (const arrive of cut.held) this.carry(from, to, arrive);
  }

  isCut(from: number, to: number): boolean {
    return this.#cuts.has(direction(from, to));
  }

  /** On top of what each message takes; 0 ends it. */
  delay(from: number, to: number, delayMs: number): void {
    this.#delaysMs.set(direction(from, to), delayMs);
  }

  carry(from: number, to: number, arrive: () => void): void {
    const delayMs = this.#latencyMs() + (this.#delaysMs.get(direction(from, to)) ?? 0);
    this.#clock.after(delayMs, () => {
      const cut = this.#cuts.get(direction(from, to));
      if (cut) cut.held.push(arrive);
      else arrive();
    });
  }

  /** From when a frame is handed to a socket until it has left its sender's memory. */
  leavingMs(): number {
    const chance = this.#random();
    return chance < 0.9 ? chance * 0.1 : chance * 10;
  }

  #latencyMs(): number {
    const chance = this.#random();
    return chance < 0.95 ? 0.05 + chance : chance * 20;
  }
}

const maxPlaces = 64;

function direction(from: number, to: number): number {
  return from * maxPlaces + to;
}
