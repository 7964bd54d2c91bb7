/** Where the checkpoints of a run lie: in a folder that this worker sees (local-files.ts), or with the coordinator (remote-files.ts). */
import type { Log } from '../../src/log.js';

export interface CheckpointFiles {
  /** Whether this worker sees the folder. Where not, the coordinator removes what is old. */
  readonly isHere: boolean;
  open(path: string): Promise<SourceFile>;
  create(path: string, log: Log): Promise<TargetFile>;
}

/** A file that is read. */
export interface SourceFile {
  /** In bytes. */
  readonly size: number;
  /** Fills the target with what lies from `position` on. */
  read(target: Uint8Array, position: number): Promise<void>;
  close(): Promise<void>;
}

/** A file that is written. It appears under its name whole, or not at all. */
export interface TargetFile {
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** Resolves when it is on the disk, under its name; with false where it is not, since a later one makes it needless. */
  keep(): Promise<boolean>;
  /** It will not be kept. */
  discard(): Promise<void>;
}
