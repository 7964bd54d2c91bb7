/**
 * The checkpoints of one run, in the worker that writes them. While steps go on, the state is copied between two of them and
 * written from the copy, aside; one at a time, so the next one waits for it. At the end, where nothing changes any more, and
 * where there is no room for a copy, it is written straight from memory.
 */
import { assert, toLockstepError, type LockstepError } from '../../src/errors.js';
import type { Log } from '../../src/log.js';
import type { CheckpointFacts } from '../../src/state/checkpoint.js';
import type { FlatMemory, SharedFlatMemory } from '../../src/state/memory.js';
import type { CheckpointFiles } from './checkpoint-files.js';
import { checkpointPath, hasWholeHeader, isWhole, latestCheckpoint, pruneCheckpoints } from './checkpoint-folder.js';
import { writeCheckpoint } from './checkpoint-writer.js';
import { localFiles } from './local-files.js';
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
  /** As `writeAndPrune`. */
  write(what: AsideWrite): Promise<boolean>;
  close(): Promise<void>;
}

export interface CheckpointsOptions {
  readonly folder: string;
  /** How many stay. */
  readonly keep: number;
  readonly memory: FlatMemory;
  readonly files: CheckpointFiles;
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

/** The generation between two of whose steps a checkpoint is taken. */
export interface Between {
  /** Where moments are shared out there is no room for all of them twice: they are written while all wait. */
  readonly sharding: Sharding | null;
  /** Resolves when the generation ends, which does not wait for what is in flight. */
  readonly untilEnded: () => Promise<unknown>;
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
  #lastStep = -1;

  constructor(options: CheckpointsOptions) {
    this.#options = options;
    this.#lastMs = options.now();
  }

  /** The state was read from the checkpoint of this step. */
  adopt(step: number): void {
    this.#lastStep = step;
  }

  /** Whether the time has come. One that would have to wait for the one before is put off. */
  get isDue(): boolean {
    const { everySeconds, now } = this.#options;
    return everySeconds !== null && !this.#inFlight && now() - this.#lastMs >= everySeconds * 1000;
  }

  /** Resolves when the next step may begin. Nothing is taken where the generation ends before, or this step has one. */
  async take(facts: CheckpointFacts, between: Between): Promise<void> {
    if (facts.step === this.#lastStep) return;
    // The coordinator may be away, which no step waits for.
    if (this.#inFlight && !this.#options.files.isHere) return;
    if (!(await this.#settled(between))) return;
    const snapshot = this.#roomForSnapshot(facts, between);
    if (!snapshot) {
      await this.#writeStraight(facts, between);
      return;
    }
    snapshot.take();
    this.#begin(facts);
    this.#inFlight = this.#writeAside(facts, snapshot).finally(() => {
      this.#inFlight = null;
    });
  }

  /** After the last step: resolves when its checkpoint lies under its name, or the generation ends. */
  async finish(facts: CheckpointFacts, between: Between): Promise<void> {
    if (!(await this.#settled(between)) || facts.step === this.#lastStep) return;
    await this.#writeStraight(facts, between);
  }

  /** Of a state that stays as it is: where its checkpoint lies, which this worker writes unless another one has. */
  async leave(facts: CheckpointFacts): Promise<string> {
    const { folder, files, keep, memory, log } = this.#options;
    const path = checkpointPath(folder, facts.step);
    if (files.isHere) await this.#inFlight;
    if (await hasWholeHeader(path)) return path;
    // Where the coordinator wrote it has to lie here now.
    const isThere = await writeAndPrune({ folder, keep, facts, memory, sharding: null, files: localFiles, log });
    return isThere ? path : ((await latestCheckpoint(folder, log))?.path ?? path);
  }

  /** What is in flight is finished first, unless it takes a coordinator. */
  async close(): Promise<void> {
    if (this.#options.files.isHere) await this.#inFlight;
    await this.#writer?.close();
  }

  #begin({ step }: CheckpointFacts): void {
    this.#lastStep = step;
    this.#lastMs = this.#options.now();
  }

  /** Whether nothing is in flight any more; not where the generation ends before. */
  async #settled({ untilEnded }: Between): Promise<boolean> {
    if (this.#inFlight) await Promise.race([this.#inFlight, untilEnded()]);
    if (this.#failure) throw this.#failure;
    return !this.#inFlight;
  }

  /** One for all generations that take one: its pages are touched once. Of a share of the moments none is taken. */
  #roomForSnapshot({ optimizer }: CheckpointFacts, { sharding }: Between): Snapshot | null {
    const { memory, availableBytes, log } = this.#options;
    if (sharding) return null;
    if (this.#snapshot) return this.#snapshot;
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
      const isThere = await this.#writer.write({ folder, keep, facts, memory: snapshot.memory.share() });
      if (isThere) onWritten(facts.step, checkpointPath(folder, facts.step));
    } catch (error) {
      this.#failure = toLockstepError(error, 'ERR_CHECKPOINT_WRITE');
      onFailure(this.#failure);
    }
  }

  async #writeStraight(facts: CheckpointFacts, { sharding }: Between): Promise<void> {
    const { folder, keep, memory, files, onWritten, log } = this.#options;
    const isThere = await writeAndPrune({ folder, keep, facts, memory, sharding, files, log });
    this.#begin(facts);
    if (isThere) onWritten(facts.step, checkpointPath(folder, facts.step));
  }
}

/**
 * Resolves with whether it lies under its name: not where another writer was faster with a later one.
 *
 * @throws LockstepError ERR_DISK_FULL, ERR_CHECKPOINT_WRITE
 */
export async function writeAndPrune(what: {
  readonly folder: string;
  readonly keep: number;
  readonly facts: CheckpointFacts;
  readonly memory: FlatMemory;
  readonly sharding: Sharding | null;
  readonly files: CheckpointFiles;
  readonly log: Log;
}): Promise<boolean> {
  const { folder, keep, facts, memory, sharding, files, log } = what;
  const path = checkpointPath(folder, facts.step);
  const written = await writeCheckpoint({ path, memory, facts, sharding, files, log });
  if (files.isHere) await pruneCheckpoints(folder, { keep, step: facts.step });
  return written !== null || (files.isHere && (await isWhole(path)));
}
