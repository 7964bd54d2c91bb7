/**
 * The checkpoints of one run, in the worker that writes them. While steps go on, the state is copied between two of them and
 * written from the copy, aside; one at a time, so the next one waits for it. At the end, where nothing changes any more, and
 * where there is no room for a copy, it is written straight from memory.
 */
import { assert, toLockstepError, type LockstepError } from '../../src/errors.js';
import type { Log } from '../../src/log.js';
import type { CheckpointFacts } from '../../src/state/checkpoint.js';
import type { FlatMemory, SharedFlatMemory } from '../../src/state/memory.js';
import { checkpointPath, pruneCheckpoints } from './checkpoint-folder.js';
import { writeCheckpoint } from './checkpoint-writer.js';
import { Snapshot } from './snapshot.js';
import type { Sharding } from './tensors.js';

export interface AsideWrite {
  readonly folder: string;
  readonly keep: number;
  readonly facts: CheckpointFacts;
  /** A snapshot's. */
  readonly memory: SharedFlatMemory;
}

/** Writes and prunes elsewhere; one at a time. */
export interface AsideWriter {
  write(what: AsideWrite): Promise<void>;
  close(): Promise<void>;
}

export interface CheckpointsOptions {
  readonly folder: string;
  /** How many stay. */
  readonly keep: number;
  readonly memory: FlatMemory;
  /** Where moments are shared out there is no room for all of them twice: written between steps. */
  readonly sharding: Sharding | null;
  /** A checkpoint is due so long after the last one; null: only where the schedule says so. */
  readonly everySeconds: number | null;
  readonly startWriter: (log: Log) => AsideWriter;
  /** In milliseconds. */
  readonly now: () => number;
  /** Bytes that this machine has to spare. */
  readonly availableBytes: () => number;
  /** It lies under its name. */
  readonly onWritten: (step: number, path: string) => void;
  /** One that is written aside has failed. */
  readonly onFailure: (error: LockstepError) => void;
  readonly log: Log;
}

export class Checkpoints {
  readonly #options: CheckpointsOptions;
  #writer: AsideWriter | null = null;
  #snapshot: Snapshot | null = null;
  #inFlight: Promise<void> | null = null;
  #failure: LockstepError | null = null;
  /** When the last one was begun, or this. */
  #lastMs: number;
  /** Steps that the last one has. */
  #lastStep: number;

  /** @param step the steps that are safe already */
  constructor(options: CheckpointsOptions, step: number) {
    this.#options = options;
    this.#lastMs = options.now();
    this.#lastStep = step;
  }

  /** Whether the time has come. One that would have to wait for the one before is put off. */
  get isDue(): boolean {
    const { everySeconds, now } = this.#options;
    return everySeconds !== null && !this.#inFlight && now() - this.#lastMs >= everySeconds * 1000;
  }

  /** Between two steps: resolves when the next one may begin. */
  async take(facts: CheckpointFacts): Promise<void> {
    await this.#settled();
    this.#begin(facts);
    const snapshot = this.#roomForSnapshot(facts);
    if (!snapshot) {
      await this.#writeStraight(facts);
      return;
    }
    snapshot.take();
    this.#inFlight = this.#writeAside(facts, snapshot).finally(() => {
      this.#inFlight = null;
    });
  }

  /** After the last step: resolves when its checkpoint lies under its name. */
  async finish(facts: CheckpointFacts): Promise<void> {
    await this.#settled();
    if (facts.step === this.#lastStep) return;
    this.#begin(facts);
    await this.#writeStraight(facts);
  }

  /** What is in flight is finished first. */
  async close(): Promise<void> {
    await this.#inFlight;
    await this.#writer?.close();
  }

  #begin({ step }: CheckpointFacts): void {
    this.#lastStep = step;
    this.#lastMs = this.#options.now();
  }

  async #settled(): Promise<void> {
    await this.#inFlight;
    if (this.#failure) throw this.#failure;
  }

  /** One for the whole run: its pages are touched once. */
  #roomForSnapshot({ optimizer }: CheckpointFacts): Snapshot | null {
    const { memory, sharding, availableBytes, log } = this.#options;
    if (sharding || this.#snapshot) return this.#snapshot;
    const [needed, available] = [Snapshot.sizeOf(memory, optimizer), availableBytes()];
    if (needed <= available) return (this.#snapshot = Snapshot.of(memory, optimizer));
    const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;
    log.info(
      `this checkpoint is written between two steps: a copy would take ${megabytes(needed)}, and ${megabytes(available)} are left`,
    );
    return null;
  }

  async #writeAside(facts: CheckpointFacts, snapshot: Snapshot): Promise<void> {
    const { folder, keep, startWriter, onWritten, onFailure, log } = this.#options;
    assert(!this.#inFlight, 'two checkpoints were to be written at once');
    try {
      this.#writer ??= startWriter(log);
      await this.#writer.write({ folder, keep, facts, memory: snapshot.memory.share() });
      onWritten(facts.step, checkpointPath(folder, facts.step));
    } catch (error) {
      this.#failure = toLockstepError(error, 'ERR_CHECKPOINT_WRITE');
      onFailure(this.#failure);
    }
  }

  async #writeStraight(facts: CheckpointFacts): Promise<void> {
    const { folder, keep, memory, sharding, onWritten, log } = this.#options;
    await writeAndPrune({ folder, keep, facts, memory, sharding, log });
    onWritten(facts.step, checkpointPath(folder, facts.step));
  }
}

/** @throws LockstepError ERR_DISK_FULL, ERR_CHECKPOINT_WRITE */
export async function writeAndPrune(what: {
  readonly folder: string;
  readonly keep: number;
  readonly facts: CheckpointFacts;
  readonly memory: FlatMemory;
  readonly sharding: Sharding | null;
  readonly log: Log;
}): Promise<void> {
  const { folder, keep, facts, memory, sharding, log } = what;
  await writeCheckpoint({ path: checkpointPath(folder, facts.step), memory, facts, sharding, log });
  await pruneCheckpoints(folder, { keep, step: facts.step });
}
