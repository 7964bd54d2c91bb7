/**
 * The run directory on a disk that all see: what coordinators have written of the run. What is written is the system's at once, so that
 * a process that dies loses nothing of it; a power cut takes what was not flushed, in the midst of a line too.
 */
import { journalSchema, type JournalContent, type JournalFile } from '../../../coordinator/journal.js';
import { MetricsRead, metricsText } from '../../../coordinator/metrics-lines.js';
import type { RecordBefore } from '../../../coordinator/run-record.js';
import type { Random } from './random.js';

/** What becomes of it when its coordinator dies. */
export type DiskFate = 'kept' | 'power-cut' | 'lost';

export class RunFolder implements JournalFile {
  readonly #random: Random;
  #journal: JournalContent | null = null;
  /** As a power cut may leave it: the last that was flushed, and those that were written since. */
  #versions: JournalContent[] = [];
  #metrics = '';
  /** `run.json`. */
  #published: { readonly runId: string; readonly address: string } | null = null;

  constructor(random: Random) {
    this.#random = random;
  }

  read(): JournalContent | null {
    return this.#journal;
  }

  replace(content: JournalContent, { isDurable }: { readonly isDurable: boolean }): void {
    this.#journal = content;
    this.#versions = isDurable ? [content] : [...this.#versions, content];
  }

  addMetrics(records: readonly object[]): void {
    this.#metrics += metricsText(records);
  }

  publish(runId: string, address: string): void {
    this.#published = { runId, address };
  }

  /** Null where another run is in the folder. */
  addressOf(runId: string): string | null {
    return this.#published?.runId === runId ? this.#published.address : null;
  }

  suffer(fate: DiskFate): void {
    if (fate === 'kept') return;
    const isLost = fate === 'lost';
    const journal = isLost ? undefined : this.#versions[this.#below(this.#versions.length)];
    this.#journal = journal ?? null;
    this.#versions = journal ? [journal] : [];
    // Most of what was written longer ago is on the disk.
    const whole = isLost ? '' : this.#metrics.slice(0, this.#metrics.length - this.#below(maxUnflushedBytes));
    // As coordinator/run-folder.ts drops a torn line.
    this.#metrics = whole.slice(0, whole.lastIndexOf('\n') + 1);
    if (isLost) this.#published = null;
  }

  /** As coordinator/journal-file.ts and bin/take-back.ts read them. */
  left(): { readonly journal: JournalContent; readonly before: RecordBefore } | null {
    if (!this.#journal) return null;
    const journal = journalSchema.parse(JSON.parse(JSON.stringify(this.#journal)));
    const { recoveries, checkpoint } = journal;
    return { journal, before: { ...this.metrics().record, recoveries, checkpoint, injections: [] } };
  }

  metrics(): MetricsRead {
    const read = new MetricsRead();
    for (const line of this.#metrics.split('\n')) if (line !== '') read.add(line);
    return read;
  }

  #below(end: number): number {
    return Math.floor(this.#random.between(0, end));
  }
}

/** Two lines or three. */
const maxUnflushedBytes = 200;
