/** What a run came to, as one JSON object: `--summary FILE`. Docs: docs/operations.md. */

/** What a run went on after. */
export interface RecoverySummary {
  readonly kind: 'lost' | 'silent' | 'hung' | 'diverged' | 'slow' | 'left' | 'joined' | 'coordinator';
  /** Null: it is no worker's. */
  readonly workerId: string | null;
  readonly why: string;
  /** Steps committed when the run went on. */
  readonly step: number;
  /** From its last sign of life until this was noticed, in milliseconds; 0 where its connection told. */
  readonly detectedMs: number;
  /** From when it was noticed until all went on, in milliseconds. */
  readonly resumedMs: number;
  /** Slots that had another worker then. */
  readonly recomputedSlots: number;
  /** Committed steps that were taken again: only with a sharded optimizer, of which nobody held the state whole any more. */
  readonly redoneSteps: number;
}

/** A worker that was slower than the others. */
export interface Straggler {
  readonly workerId: string;
  /** Its time per slot, by the median of the others'. */
  readonly factor: number;
  /** Where it loses most. */
  readonly phase: 'data' | 'compute';
  /** Per slot and step, in that phase, in milliseconds. */
  readonly ownMs: number;
  readonly othersMs: number;
  readonly sinceStep: number;
  /** Null: it is one still. */
  readonly untilStep: number | null;
}

/** A fault that `--chaos` has brought. */
export interface Injection {
  /** As on the command line: "kill:1@20". */
  readonly fault: string;
  /** Null for what befalls no worker. */
  readonly workerId: string | null;
  /** Steps committed. */
  readonly step: number;
}

export interface RunSummary {
  readonly runId: string;
  readonly ok: boolean;
  readonly error: { readonly code: string; readonly message: string } | null;
  /** Steps committed, those before a resume included. */
  readonly steps: number;
  readonly epochs: number;
  readonly samplesSeen: number;
  /** Steps of this start that left the weights as they were: `onNotFinite: 'skip'`. */
  readonly skippedSteps: number;
  readonly workers: number;
  readonly slots: number | null;
  readonly generations: number;
  readonly finalLoss: number | null;
  /** Of the last step, and of the last validation (`val_…`). */
  readonly metrics: Readonly<Record<string, number>>;
  readonly wallSeconds: number;
  readonly samplesPerSecond: number | null;
  /** Where the time of a step goes on rank 0, in milliseconds: data, compute, network, optimizer, waiting. */
  readonly stepTime: Readonly<Record<string, number>> | null;
  readonly compiled: boolean;
  readonly engine: string | null;
  readonly weightsSha256: string | null;
  readonly checkpoint: string | null;
  /** In the order in which the run went on after them. */
  readonly recoveries: readonly RecoverySummary[];
  /** Workers that were slower than the others for a while. */
  readonly stragglers: readonly Straggler[];
  /** In the order in which they came. */
  readonly injected: readonly Injection[];
}
