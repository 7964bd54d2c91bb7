/** The state on its way to a worker that lacks it: what worker/comm/state-transfer.ts does, with pieces of a few floats. */
import { hashOf, type State } from './job.js';
import type { Memory } from './memory.js';
import type { Bulk } from './network.js';
import { Violation } from './violation.js';

export type StateFrame =
  | { readonly type: 'state-request'; readonly piece: number }
  | { readonly type: 'state'; readonly piece: number; readonly content: Piece };

interface Piece {
  readonly values: Float32Array;
  /** Of all of the sender's state. */
  readonly digest: string;
}

export interface StateTransferOptions {
  readonly memory: Memory;
  readonly send: (to: number, bulk: Bulk<StateFrame>) => void;
  /** All of it has taken the place of what was there. */
  readonly onFetched: () => void;
}

/** Parameters and moments, each in two. */
const numPieces = 4;

export class StateTransfer {
  readonly #options: StateTransferOptions;
  readonly #pieces: (Piece | null)[] = new Array<Piece | null>(numPieces).fill(null);
  #next = 0;
  #isFetching = false;

  constructor(options: StateTransferOptions) {
    this.#options = options;
  }

  fetch(ranks: readonly number[]): void {
    this.#isFetching = true;
    for (const rank of ranks) this.#askNext(rank);
  }

  onFrame(from: number, frame: StateFrame): void {
    const { memory, send } = this.#options;
    const { piece } = frame;
    if (frame.type === 'state-request') {
      const make = (): StateFrame => {
        return { type: 'state', piece, content: contentOf(memory.state, piece) };
      };
      send(from, { make, onSent: () => undefined });
      return;
    }
    if (!this.#isFetching) return;
    this.#pieces[piece] = frame.content;
    this.#askNext(from);
    if (this.#pieces.every((content) => content !== null)) this.#install();
  }

  #askNext(rank: number): void {
    const piece = this.#next++;
    if (piece >= numPieces) return;
    const { send } = this.#options;
    send(rank, { make: () => ({ type: 'state-request', piece }), onSent: () => undefined });
  }

  #install(): void {
    const { memory, onFetched } = this.#options;
    const pieces = this.#pieces.flatMap((piece) => piece ?? []);
    this.#isFetching = false;
    for (const [index, { values }] of pieces.entries()) viewOf(memory.state, index).set(values);
    if (pieces.some(({ digest }) => digest !== digestOf(memory.state))) {
      throw new Violation('the same bits', 'the state changed while it was fetched');
    }
    onFetched();
  }
}

function contentOf(state: State, piece: number): Piece {
  return { values: viewOf(state, piece).slice(), digest: digestOf(state) };
}

function viewOf({ parameters, moments }: State, piece: number): Float32Array {
  const array = piece < numPieces / 2 ? parameters : moments;
  const half = array.length / 2;
  return array.subarray((piece % 2) * half, ((piece % 2) + 1) * half);
}

function digestOf({ parameters, moments }: State): string {
  return hashOf(parameters) + hashOf(moments);
}
