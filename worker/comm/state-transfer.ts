/**
 * The state of a step on its way to a worker that lacks it, between two generations' steps: it asks those that have it, all at
 * once, piece by piece, and keeps the pieces beside its own memory. When all are here, and every sender's digest is that of
 * what came, they take the place of what it had; before, nothing of that is touched. Senders answer from their memory, which
 * no step changes before this worker has all.
 */
import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import { LockstepError } from '../../src/errors.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import { decodeFrameHeader, encodeFrameHeader, frameHeaderBytes, type FrameHeader } from '../../src/protocol/frame.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { checksumOfBytes, checksumOfPiece, cutState, type Piece } from './state-pieces.js';

/** Pieces asked of one worker at a time: the next is under way while one comes in. */
const numAskedAtOnce = 2;

export interface StateTransferOptions {
  readonly generation: number;
  /** Steps committed, after which this is the state. */
  readonly step: number;
  readonly memory: FlatMemory;
  readonly optimizer: OptimizerConfig;
  /** The generation has ended. */
  readonly signal: AbortSignal;
  readonly send: (to: number, header: Uint8Array, payload: Uint8Array) => void;
  /** Called again and again in long work. @default nobody is told */
  readonly pulse?: () => void;
}

interface Fetching {
  readonly pieces: (Uint8Array | null)[];
  /** Of the pieces that have come. */
  readonly checksums: Uint32Array;
  /** By rank, once they have come. */
  readonly digests: Map<number, Uint8Array | null>;
  /** Pieces that nobody was asked for. */
  next: number;
  numMissing: number;
  readonly finish: () => void;
}

export class StateTransfer {
  readonly #options: StateTransferOptions;
  readonly #pieces: readonly Piece[];
  #digest: Promise<Uint8Array> | null = null;
  #fetching: Fetching | null = null;

  constructor(options: StateTransferOptions) {
    this.#options = options;
    this.#pieces = cutState(options.memory, options.optimizer);
  }

  /** Resolves when the memory holds the state that these ranks have; never, where the generation ends before. */
  async fetch(ranks: readonly number[]): Promise<void> {
    const { length } = this.#pieces;
    await new Promise<void>((finish) => {
      this.#fetching = {
        pieces: this.#pieces.map(() => null),
        checksums: new Uint32Array(length),
        digests: new Map(ranks.map((rank) => [rank, null])),
        next: 0,
        numMissing: length + ranks.length,
        finish,
      };
      for (const rank of ranks) {
        this.#ask(rank, length);
        for (let i = 0; i < numAskedAtOnce; i++) this.#askNext(rank);
      }
    });
    this.#install();
  }

  /** @throws LockstepError ERR_PROTOCOL for what was not asked for; ERR_FRAME_CORRUPT */
  async onFrame(from: number, bytes: Uint8Array): Promise<void> {
    const header = decodeFrameHeader(bytes.subarray(0, frameHeaderBytes));
    const { generation, step } = this.#options;
    const isOfNow = header.generation === generation && header.step === step && header.bucket <= this.#pieces.length;
    if (!isOfNow) throw unexpected(from, header, `this is the state of step ${step} in generation ${generation}`);
    if (header.kind === 'state-request') await this.#answer(from, header.bucket);
    else this.#take(from, header, bytes.subarray(frameHeaderBytes));
  }

  /** The piece after the last one is the digest. */
  async #answer(to: number, index: number): Promise<void> {
    const { memory, send } = this.#options;
    const piece = this.#pieces[index];
    const [payload, checksum] = piece
      ? [memory.bytes(piece.segment, piece.address, piece.numBytes), checksumOfPiece(memory, piece)]
      : await this.#checkedDigest();
    send(to, this.#header('state', index, { payloadBytes: payload.byteLength, checksum }), payload);
  }

  async #checkedDigest(): Promise<readonly [Uint8Array, number]> {
    this.#digest ??= this.#makeDigest();
    const digest = await this.#digest;
    return [digest, checksumOfBytes(this.#options.memory, digest)];
  }

  /** Piece by piece, so that the thread's other work waits a millisecond at most. */
  async #makeDigest(): Promise<Uint8Array> {
    const checksums = new Uint32Array(this.#pieces.length);
    for (const [index, piece] of this.#pieces.entries()) {
      if (this.#options.signal.aborted) break;
      checksums[index] = checksumOfPiece(this.#options.memory, piece);
      await turnOfTheEventLoop();
    }
    return new Uint8Array(checksums.buffer);
  }

  #take(from: number, header: FrameHeader, payload: Uint8Array): void {
    const fetching = this.#fetching;
    const index = header.bucket;
    const expected = this.#pieces[index]?.numBytes ?? this.#pieces.length * Uint32Array.BYTES_PER_ELEMENT;
    const isDigest = index === this.#pieces.length;
    const isAsked = isDigest ? fetching?.digests.get(from) === null : fetching?.pieces[index] === null;
    if (!fetching || !isAsked || !fetching.digests.has(from)) throw unexpected(from, header, 'it was not asked for');
    if (payload.byteLength !== expected) throw unexpected(from, header, `the piece has ${expected} bytes`);
    if (checksumOfBytes(this.#options.memory, payload) !== header.checksum) {
      throw new LockstepError(
        'ERR_FRAME_CORRUPT',
        `Piece ${index} of rank ${from}'s state does not match its checksum.`,
      );
    }
    if (isDigest) fetching.digests.set(from, payload);
    else {
      fetching.pieces[index] = payload;
      fetching.checksums[index] = header.checksum;
      this.#askNext(from);
    }
    if (--fetching.numMissing === 0) fetching.finish();
  }

  #install(): void {
    const fetching = this.#fetching;
    const { memory } = this.#options;
    if (!fetching) return;
    const { checksums, digests } = fetching;
    for (const [rank, digest] of digests) this.#compare(rank, checksums, digest ?? new Uint8Array());
    for (const [index, { segment, address, numBytes }] of this.#pieces.entries()) {
      const bytes = fetching.pieces[index];
      this.#options.pulse?.();
      if (bytes) memory.bytes(segment, address, numBytes).set(bytes);
    }
    this.#fetching = null;
  }

  #compare(rank: number, found: Uint32Array, digest: Uint8Array): void {
    const theirs = new Uint32Array(Uint8Array.from(digest).buffer);
    const differing = found.findIndex((checksum, index) => checksum !== theirs[index]);
    if (differing < 0) return;
    const { step } = this.#options;
    const message = `The state after step ${step} is not the same in all workers: piece ${differing} of ${found.length} of rank ${rank} has the checksum ${String(theirs[differing])}, and ${String(found[differing])} came.`;
    throw new LockstepError('ERR_FRAME_CORRUPT', message, { details: { rank, step, piece: differing } });
  }

  #askNext(rank: number): void {
    const fetching = this.#fetching;
    if (fetching && fetching.next < this.#pieces.length) this.#ask(rank, fetching.next++);
  }

  #ask(rank: number, index: number): void {
    this.#options.send(rank, this.#header('state-request', index, { payloadBytes: 0, checksum: 0 }), new Uint8Array());
  }

  #header(
    kind: 'state-request' | 'state',
    bucket: number,
    payload: Pick<FrameHeader, 'payloadBytes' | 'checksum'>,
  ): Uint8Array {
    const { generation, step } = this.#options;
    return encodeFrameHeader({ kind, inPlace: false, generation, step, bucket, chunk: 0, node: 0, ...payload });
  }
}

function unexpected(from: number, { kind, bucket, step }: FrameHeader, why: string): LockstepError {
  return new LockstepError('ERR_PROTOCOL', `Rank ${from} sent a ${kind} of piece ${bucket} at step ${step}: ${why}.`);
}
