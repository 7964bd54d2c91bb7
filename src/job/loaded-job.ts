/** A job file as it was loaded: the job, where relative paths start, and what tells two loads apart. */
import type { Facts } from '../protocol/facts.js';
import type { Job } from './job.js';

export interface LoadedJob {
  readonly job: Job;
  /** Absolute. */
  readonly path: string;
  /** Folder of the job file. */
  readonly baseDir: string;
  /** What must be equal wherever the job runs: the digest of its code, and each plain field. */
  readonly facts: Facts;
}

/** Loads a job file and applies overrides of the form "key=value". */
export type LoadJob = (path: string, overrides: readonly string[]) => Promise<LoadedJob>;
