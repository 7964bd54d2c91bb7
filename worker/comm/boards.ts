/**
 * What workers of one host tell one another in memory: each has a board of its own, which the others have mapped, and which
 * says for how many steps its partials are ready, for how many the results that it owns, and which of these were not finite
 * last. Numbers only grow within a generation; who waits for one is woken by the kernel, whichever process it is in.
 */
import type { AllReducePlan } from '../../src/collective/plan.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { nobody } from './comm-times.js';
import { BOARD, PEER_BOARDS } from './regions.js';
import { pageBytes, type SharedPages } from './shared-pages.js';

/** What waits for words that another process writes. */
export type Waking = Pick<SharedPages, 'wake' | 'awaitWord'>;

export type Told = 'partials' | 'results' | 'notFinite';

/** Each word in a cache line of its own. */
const words: Readonly<Record<Told, number>> = { partials: 0, results: 16, notFinite: 32 };

/** Boards lie in the first segment. */
const segment = 0;

/** Where the board of a rank is mapped, in bytes from the region's start. */
export function peerBoardOffset(rank: number): number {
  return rank * pageBytes;
}

export class Boards {
  readonly #rank: number;
  readonly #pages: Waking | null;
  /** By rank; of this one its own. */
  readonly #boards: readonly Int32Array<SharedArrayBuffer>[];
  #awaited = nobody;

  /** @param pages null for a worker that is alone */
  constructor({ rank, worldSize }: AllReducePlan, memory: FlatMemory, pages: Waking | null) {
    const own = memory.address(BOARD, segment);
    const peers = memory.address(PEER_BOARDS, segment);
    this.#rank = rank;
    this.#pages = pages;
    this.#boards = Array.from({ length: worldSize }, (_, peer) => {
      const bytes = memory.bytes(segment, peer === rank ? own : peers + peerBoardOffset(peer), pageBytes);
      return new Int32Array(bytes.buffer, bytes.byteOffset, pageBytes / Int32Array.BYTES_PER_ELEMENT);
    });
  }

  /** Before any peer reads it. */
  clear(): void {
    this.#boards[this.#rank]?.fill(0);
  }

  /** This worker has its partials, or its results, of so many steps; or it owns one of the last of them that is not finite. */
  tell(what: Told, numSteps: number): void {
    const own = this.#boards[this.#rank];
    if (!own) return;
    Atomics.store(own, words[what], numSteps);
    this.#pages?.wake(own, words[what]);
  }

  /** Whether any result of the last of so many steps is not finite, where all have told of theirs. */
  isNotFinite(numSteps: number): boolean {
    return this.#boards.some((board) => Atomics.load(board, words.notFinite) === numSteps);
  }

  /** The first rank that has not told of so many steps; null: all have. */
  #missing(what: Told, numSteps: number): number | null {
    const rank = this.#boards.findIndex((board) => Atomics.load(board, words[what]) < numSteps);
    return rank < 0 ? null : rank;
  }

  /** Why a step is not committed: partials go first. */
  waiting(step: number): string | null {
    for (const what of ['partials', 'results'] as const) {
      const rank = this.#missing(what, step + 1);
      if (rank !== null) return `step ${step}: the ${what} of rank ${rank} are not there`;
    }
    return null;
  }

  /** Blocks until all have told of so many steps, for `timeoutMs` at most with each. Whether they have. */
  awaitAll(what: Told, numSteps: number, timeoutMs: number): boolean {
    return this.#boards.every((board, rank) => {
      if (Atomics.load(board, words[what]) >= numSteps) return true;
      this.#awaited = rank;
      return this.#pages?.awaitWord(board, words[what], numSteps, timeoutMs) === true;
    });
  }

  /** The rank that was last to tell what `awaitAll` has waited for since this was asked before; `nobody`: it had not to wait. */
  takeAwaited(): number {
    const rank = this.#awaited;
    this.#awaited = nobody;
    return rank;
  }
}
