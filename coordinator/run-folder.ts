/**
 * The files of one run:
 *
 *   run.json        what the run is and where its coordinator listens
 *   token           the secret of a run on this host alone, readable by its owner only
 *   metrics.jsonl   a line for each step and each validation
 *   journal.json    what the next coordinator has to know, if this one dies
 *   chaos.jsonl     a line for each fault that --chaos has brought
 *   summary.json    how it ended
 *   checkpoints/    written by rank 0
 */
import { randomBytes } from 'node:crypto';
import { appendFileSync, closeSync, openSync, writeSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { LockstepError } from '../src/errors.js';
import type { Log } from '../src/log.js';
import type { Injection } from '../src/run-summary.js';
import { Journal, type JournalBegun } from './journal.js';
import { journalFile } from './journal-file.js';
import { metricsText } from './metrics-lines.js';

const runFileSchema = z.object({
  runId: z.string(),
  name: z.string(),
  url: z.string(),
  pid: z.int(),
  tokenFile: z.string().nullable(),
  lockstepVersion: z.string(),
  startedAt: z.string(),
  job: z.record(z.string(), z.json()),
});
export type RunFile = z.output<typeof runFileSchema>;

const chaosFile = 'chaos.jsonl';
const injectionSchema = z.object({ fault: z.string(), workerId: z.string().nullable(), step: z.int() });

/** Where the checkpoints of the run in `path` lie. */
export function checkpointFolder(path: string): string {
  return join(path, 'checkpoints');
}

export class RunFolder {
  readonly path: string;
  /** A file that is open to be added to; null: it was closed, or could not be written. */
  #metrics: number | null;
  readonly #log: Log;
  #run: RunFile | null = null;

  private constructor(path: string, metrics: number, log: Log) {
    this.path = path;
    this.#metrics = metrics;
    this.#log = log;
  }

  /**
   * Makes the folder, or goes on in one that is there.
   *
   * @throws LockstepError ERR_RUN_DIR where it holds a run and `resume` is not set, or cannot be written
   */
  static async open(path: string, options: { readonly resume: boolean; readonly log: Log }): Promise<RunFolder> {
    try {
      await mkdir(checkpointFolder(path), { recursive: true });
      // A run that begins has nothing behind it.
      if (!options.resume) {
        await refuseForeign(path, options.log);
        await rm(join(path, chaosFile), { force: true });
      }
      const metrics = metricsFile(path);
      await dropTornLine(metrics);
      return new RunFolder(path, openSync(metrics, 'a'), options.log);
    } catch (cause) {
      throw folderError(path, cause);
    }
  }

  /** A new secret for a run on this host; returns the file that holds it. */
  async writeToken(): Promise<string> {
    const file = this.tokenFile;
    // A file that is there already would keep its mode.
    await this.#write(() => rm(file, { force: true }));
    await this.#write(() => writeFile(file, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600, flag: 'wx' }));
    return file;
  }

  /** Where `writeToken` has put it. */
  get tokenFile(): string {
    return join(this.path, 'token');
  }

  async writeRun(run: RunFile): Promise<void> {
    this.#run = run;
    await this.#write(() => writeAside(join(this.path, 'run.json'), run));
  }

  /** It is another run than was written. */
  async renameRun(runId: string): Promise<void> {
    if (this.#run) await this.writeRun({ ...this.#run, runId });
  }

  /** Where it cannot be written there is a warning: how the run ended matters more. */
  async writeSummary(summary: object): Promise<void> {
    await writeAside(join(this.path, 'summary.json'), summary).catch((error: unknown) => {
      this.#log.warn(folderError(this.path, error).message);
    });
  }

  /** This process has the run from now on. */
  beginJournal(begun: JournalBegun): Journal {
    try {
      return Journal.begin(journalFile(this.path), begun, this.#log);
    } catch (cause) {
      throw folderError(this.path, cause);
    }
  }

  /** The faults that --chaos has brought to this run so far. */
  async readInjections(): Promise<Injection[]> {
    const text = await readFile(join(this.path, chaosFile), 'utf8').catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
      throw folderError(this.path, error);
    });
    return text.split('\n').flatMap((line) => (line === '' ? [] : injectionSchema.parse(JSON.parse(line))));
  }

  /** At once: the fault may be the end of this process. */
  noteInjection(injection: Injection): void {
    try {
      appendFileSync(join(this.path, chaosFile), `${JSON.stringify(injection)}\n`);
    } catch (error) {
      this.#log.warn(folderError(this.path, error).message);
    }
  }

  /** They are the system's when this returns: a coordinator that dies then has them in the file. */
  addMetrics(records: readonly object[]): void {
    if (this.#metrics === null || records.length === 0) return;
    try {
      writeSync(this.#metrics, metricsText(records));
    } catch (error) {
      this.#log.warn(`metrics.jsonl cannot be written: ${error instanceof Error ? error.message : String(error)}`);
      this.close();
    }
  }

  close(): void {
    if (this.#metrics !== null) closeSync(this.#metrics);
    this.#metrics = null;
  }

  async #write(work: () => Promise<void>): Promise<void> {
    await work().catch((cause: unknown): never => {
      throw folderError(this.path, cause);
    });
  }
}

/** Where the metrics of the run in `path` lie. */
export function metricsFile(path: string): string {
  return join(path, 'metrics.jsonl');
}

/** What `run.json` of a run directory says; ERR_RUN_DIR where there is none. */
export async function readRunFile(folder: string): Promise<RunFile> {
  const path = join(folder, 'run.json');
  try {
    return runFileSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    throw new LockstepError('ERR_RUN_DIR', `${folder} is no run directory: ${path} cannot be read.`, { cause });
  }
}

/** A token file's content, without surrounding white space. */
export async function readToken(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new LockstepError('ERR_TOKEN_INVALID', `The token file ${path} cannot be read.`, { cause });
  });
  const token = text.trim();
  if (token.length >= 16) return token;
  throw new LockstepError(
    'ERR_TOKEN_INVALID',
    `The token in ${path} has ${token.length} characters; at least 16 are needed. Make one with: openssl rand -hex 32`,
  );
}

/** A line whose writer died in the midst of it would spoil the next one. */
async function dropTornLine(path: string): Promise<void> {
  const file = await open(path, 'a+');
  try {
    const { size } = await file.stat();
    const tail = Buffer.alloc(Math.min(size, maxLineBytes));
    await file.read(tail, 0, tail.length, size - tail.length);
    const numTorn = tail.length - (tail.lastIndexOf('\n') + 1);
    if (numTorn > 0) await file.truncate(size - numTorn);
  } finally {
    await file.close();
  }
}

/** Far more than a line has. */
const maxLineBytes = 1024 * 1024;

async function refuseForeign(path: string, log: Log): Promise<void> {
  const held = (await readdir(checkpointFolder(path))).filter((name) => name.endsWith('.safetensors'));
  if (held.length === 0) return;
  if (!(await readdir(path)).includes('run.json')) {
    // Its worker goes on to write them where all else was lost, and will say which run it is.
    log.warn(`${path} has ${held.length} checkpoint(s), and nothing else of a run: its files are lost`);
    return;
  }
  throw new LockstepError(
    'ERR_RUN_DIR',
    `${path} holds a run with ${held.length} checkpoint(s). Add --resume to go on with it, or choose another --run-dir.`,
  );
}

async function writeAside(path: string, content: object): Promise<void> {
  const aside = `${path}.tmp`;
  try {
    await writeFile(aside, `${JSON.stringify(content, null, 2)}\n`);
    await rename(aside, path);
  } catch (error) {
    await rm(aside, { force: true });
    throw error;
  }
}

function folderError(path: string, cause: unknown): LockstepError {
  if (cause instanceof LockstepError) return cause;
  if (cause instanceof Error && 'code' in cause && cause.code === 'ENOSPC') {
    const message = `The disk is full: no room for the files of the run in ${path}. Free some space, or use another --run-dir.`;
    return new LockstepError('ERR_DISK_FULL', message, { cause });
  }
  const why = cause instanceof Error ? cause.message : String(cause);
  return new LockstepError('ERR_RUN_DIR', `The run directory ${path} cannot be used: ${why}.`, { cause });
}
