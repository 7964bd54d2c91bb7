/**
 * `journal.json` of a run directory: what a coordinator that is started again has to know of its run. It is small, replaced as a
 * whole at each change, and so never torn. It also says which process has the run: whoever finds another one there than
 * itself has been replaced, and touches nothing any more.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Log } from '../src/log.js';
import { rosterEntrySchema } from '../src/protocol/messages.js';
import type { RunJournal } from './coordinator-options.js';

const count = z.int().min(0);
const kinds = ['lost', 'silent', 'hung', 'diverged', 'slow', 'left', 'joined', 'coordinator'] as const;

const processSchema = z.strictObject({ pid: z.int(), startTicks: z.string() }).readonly();

const recoverySchema = z.strictObject({
  kind: z.enum(kinds),
  workerId: z.string().nullable(),
  pid: z.int().nullable(),
  why: z.string(),
  detectedMs: z.number(),
  step: count,
  resumedMs: z.number(),
  recomputedSlots: count,
  redoneSteps: count,
  numWorkers: count,
});

const launchedSchema = z.strictObject({ workerId: z.string(), process: processSchema });
/** A worker that the command has started itself. */
export type Launched = z.output<typeof launchedSchema>;

const contentSchema = z.strictObject({
  version: z.literal(1),
  runId: z.string(),
  term: z.int().positive(),
  /** Of this start of a coordinator alone. */
  owner: z.string(),
  host: z.string(),
  process: processSchema.nullable(),
  url: z.string(),
  ended: z.boolean(),
  /** What the command said: another one cannot take the run back. */
  facts: z.record(z.string(), z.string()),
  steps: count.nullable(),
  slots: z.int().positive(),
  threads: z.int().positive(),
  /** The checkpoint that the run began with. */
  resume: z.strictObject({ step: count, path: z.string(), weightsSha256: z.string() }).nullable(),
  /** Size of metrics.jsonl when the run began: what lies before is of an earlier one. */
  metricsBytes: count,
  /** Workers that the run wants, by now. */
  numWanted: z.int().positive(),
  generation: count,
  roster: z.array(rosterEntrySchema).readonly(),
  checkpoint: z.strictObject({ step: count, path: z.string() }).nullable(),
  recoveries: z.array(recoverySchema).readonly(),
  /** In the order of their starts. */
  launched: z.array(launchedSchema).readonly(),
});
export type JournalContent = z.output<typeof contentSchema>;

/** Null where there is none, or where it cannot be read: then the workers know what it said. */
export function readJournal(runDir: string): JournalContent | null {
  try {
    return contentSchema.parse(JSON.parse(readFileSync(fileIn(runDir), 'utf8')));
  } catch {
    return null;
  }
}

export class Journal implements RunJournal {
  readonly #runDir: string;
  readonly #log: Log;
  #content: JournalContent;

  private constructor(runDir: string, content: JournalContent, log: Log) {
    this.#runDir = runDir;
    this.#content = content;
    this.#log = log;
  }

  /** This process has the run from now on. Throws what the file system throws. */
  static begin(runDir: string, content: Omit<JournalContent, 'version' | 'owner'>, log: Log): Journal {
    const begun = { ...content, version: 1, owner: randomBytes(8).toString('hex') } as const;
    replace(runDir, begun, { isDurable: true });
    return new Journal(runDir, begun, log);
  }

  get content(): JournalContent {
    return this.#content;
  }

  get owner(): string {
    return this.#content.owner;
  }

  /** A journal that is lost is nobody's. */
  isOurs(): boolean {
    const found = readJournal(this.#runDir);
    return found === null || found.term < this.#content.term || found.owner === this.#content.owner;
  }

  /** What cannot be written costs something only if this process dies too: there is a warning. */
  note(changes: Partial<Omit<JournalContent, 'version' | 'owner'>>): void {
    if (!this.isOurs()) return;
    this.#content = { ...this.#content, ...changes };
    try {
      replace(this.#runDir, this.#content, { isDurable: false });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#log.warn(`the journal of the run cannot be written: ${why}`);
    }
  }
}

function fileIn(runDir: string): string {
  return join(runDir, 'journal.json');
}

/** What depends on it being durable is its owner and term alone: workers know the rest. */
function replace(runDir: string, content: JournalContent, { isDurable }: { readonly isDurable: boolean }): void {
  const aside = `${fileIn(runDir)}.tmp`;
  const file = openSync(aside, 'w', 0o600);
  try {
    // To its end: a single write may take less where the disk is nearly full.
    writeFileSync(file, `${JSON.stringify(content, null, 2)}\n`);
    if (isDurable) fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(aside, fileIn(runDir));
  if (isDurable) syncFolder(runDir);
}

/** Without this, a power cut can forget the rename. */
function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } catch (error) {
    const isUnsupported = error instanceof Error && 'code' in error && noFolderSync.includes(error.code);
    if (!isUnsupported) throw error;
  } finally {
    closeSync(folder);
  }
}

/** What file systems answer that have no flush of a folder. */
const noFolderSync: readonly unknown[] = ['EINVAL', 'EISDIR', 'ENOTSUP', 'EPERM'];
