/**
 * What is done on purpose to all connections of a process: what it sends comes late, or nothing comes through at all, as
 * behind a cut cable. Nobody is told, and no connection closes. Order is kept.
 */

/** Both are what a test of recovery asks for; without one, no connection has an impediment. */
export interface Impeded {
  /** Reads no more of what the other side sends. */
  deafen(): void;
}

interface Held {
  readonly dueMs: number;
  readonly release: () => void;
}

export class Impediment {
  readonly #connections = new Set<Impeded>();
  readonly #held: Held[] = [];
  #timer: NodeJS.Timeout | null = null;
  #delayMs = 0;
  #isCut = false;

  get isCut(): boolean {
    return this.#isCut;
  }

  /** Whether what is sent has to be held. */
  get isActive(): boolean {
    return this.#isCut || this.#delayMs > 0 || this.#held.length > 0;
  }

  /** All that is sent from now on leaves so much later. */
  delay(delayMs: number): void {
    this.#delayMs = delayMs;
  }

  /** For good. */
  cut(): void {
    this.#isCut = true;
    for (const connection of this.#connections) connection.deafen();
  }

  /** Returns what ends it. */
  add(connection: Impeded): () => void {
    this.#connections.add(connection);
    if (this.#isCut) connection.deafen();
    return () => this.#connections.delete(connection);
  }

  /** Does this after the delay, when all that was held before has been done; at once without one, and never where it is cut. */
  hold(release: () => void): void {
    if (this.#isCut) return;
    if (!this.isActive) {
      release();
      return;
    }
    const dueMs = Math.max(performance.now() + this.#delayMs, this.#held.at(-1)?.dueMs ?? 0);
    this.#held.push({ dueMs, release });
    this.#wait();
  }

  /** Until the first of what is held is due. */
  #wait(): void {
    const [next] = this.#held;
    if (!next || this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#release();
    }, next.dueMs - performance.now());
  }

  #release(): void {
    const nowMs = performance.now();
    for (let next = this.#held[0]; next && next.dueMs <= nowMs; next = this.#held[0]) {
      this.#held.shift();
      if (!this.#isCut) next.release();
    }
    this.#wait();
  }
}
