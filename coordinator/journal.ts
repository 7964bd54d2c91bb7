/**
 * `journal.json` of a run directory: what a coordinator that is started again has to know of its run. It is small, replaced as a
 * whole at each change, and so never torn. It also says which process has the run: whoever finds another one there than
 * itself has been replaced, and touches nothing any more.
 */
import { z } from 'zod';
import type { Log } from '../src/log.js';
import { rosterEntrySchema } from '../src/protocol/messages.js';
import type { RunJournal } from './coordinator-options.js';
import type { Past } from './membership-state.js';

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

export const journalSchema = z.strictObject({
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
export type JournalContent = z.output<typeof journalSchema>;

/** What a coordinator begins with. */
export type JournalBegun = Omit<JournalContent, 'version'>;

/** What a coordinator that takes the run back begins with: nobody follows the one before any more. */
export function successorOf(
  before: JournalContent,
  own: Pick<JournalContent, 'owner' | 'host' | 'process'>,
): JournalBegun {
  return { ...before, ...own, ended: false, term: before.term + 1 };
}

export function pastOf({ numWanted, generation, roster, checkpoint }: JournalContent): Past {
  return { numWanted, generation, roster, checkpoint };
}

/** Where a journal lies. */
export interface JournalFile {
  /** Null where there is none, or where it cannot be read: then the workers know what it said. */
  read(): JournalContent | null;
  /** As a whole; `isDurable`: not before it outlasts a power cut. Throws what the file system throws. */
  replace(content: JournalContent, options: { readonly isDurable: boolean }): void;
}

export class Journal implements RunJournal {
  readonly #file: JournalFile;
  readonly #log: Pick<Log, 'warn'>;
  #content: JournalContent;

  private constructor(file: JournalFile, content: JournalContent, log: Pick<Log, 'warn'>) {
    this.#file = file;
    this.#content = content;
    this.#log = log;
  }

  /** This process has the run from now on. Throws what the file system throws. */
  static begin(file: JournalFile, begun: JournalBegun, log: Pick<Log, 'warn'>): Journal {
    const content = { ...begun, version: 1 } as const;
    file.replace(content, { isDurable: true });
    return new Journal(file, content, log);
  }

  get content(): JournalContent {
    return this.#content;
  }

  get owner(): string {
    return this.#content.owner;
  }

  /**
   * A journal that is lost is nobody's. One of a lower term of the run is by a coordinator that does not know of this one: it finds it there
   * when it looks next. One of another run has the folder: it was emptied, and what this one knows of its files is no longer so.
   */
  keep(): boolean {
    const place = this.#placeOf(this.#content);
    if (place === 'to be taken back') this.#write({ isDurable: true });
    return place !== 'of another';
  }

  /**
   * What cannot be written costs something only if this process dies too: there is a warning. A run that is taken, and its first
   * generation, are durable when this returns, so they are noted before workers hear of them: a coordinator that does not know them after a
   * power cut takes its own workers for strangers. Of all that comes later workers know more than the disk.
   */
  note(changes: Partial<Omit<JournalContent, 'version' | 'owner'>>): void {
    const content = { ...this.#content, ...changes };
    // By the term that it has from now on: it may have just heard of one.
    if (this.#placeOf(content) === 'of another') return;
    const isFirst = this.#content.generation === 0 && content.generation > 0;
    this.#content = content;
    this.#write({ isDurable: isFirst || changes.runId !== undefined || changes.term !== undefined });
  }

  #placeOf({ owner, runId, term }: JournalContent): 'ours' | 'to be taken back' | 'of another' {
    const found = this.#file.read();
    if (found === null || found.owner === owner) return 'ours';
    return found.runId === runId && found.term < term ? 'to be taken back' : 'of another';
  }

  #write(options: { readonly isDurable: boolean }): void {
    try {
      this.#file.replace(this.#content, options);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#log.warn(`the journal of the run cannot be written: ${why}`);
    }
  }
}
