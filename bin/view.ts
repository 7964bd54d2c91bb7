/** How a run looks while it goes on: a progress bar on a terminal, plain lines elsewhere, JSON lines with `--json`. */
import { MultiBar, Presets, type SingleBar } from 'cli-progress';
import type { BestCheckpoint } from '../coordinator/best-checkpoint.js';
import type { ToldRecovery } from '../coordinator/run-record.js';
import type { RunFolder } from '../coordinator/run-folder.js';
import type { RunObserver, RunRecord, StepLine, Validation } from '../coordinator/run-record.js';
import type { Log } from '../src/log.js';
import type { Summary } from './summary.js';

export interface RunHeading {
  readonly name: string;
  readonly runDir: string;
  readonly url: string;
  readonly numWorkers: number;
  readonly slots: number;
  readonly threads: number;
}

export interface View extends RunObserver {
  begin(heading: RunHeading): void;
  /** A line for people. */
  note(text: string): void;
  /** No more progress will come. */
  end(): void;
  done(summary: Summary): void;
}

/** Hands on what happens to the view and to who keeps the best checkpoint, and writes it to the run's metrics.jsonl. */
export function recordingObserver(folder: RunFolder, view: View, best: BestCheckpoint | null): RunObserver {
  return {
    onSteps: (lines, record) => {
      folder.addMetrics(lines);
      view.onSteps(lines, record);
    },
    onValidation: (validation) => {
      folder.addMetrics([validation]);
      best?.onValidation(validation);
      view.onValidation(validation);
    },
    onCheckpoint: (step, path) => {
      best?.onCheckpoint(step);
      view.onCheckpoint(step, path);
    },
    onRecovery: (recovery) => {
      view.onRecovery(recovery);
    },
    onReason: (reason) => {
      view.onReason(reason);
    },
  };
}

/** How long the run may wait for something before a person is told what for. */
const patienceMs = 2_000;

/** Lines of text; the bar builds on them. */
export class LineView implements View {
  readonly #print: (line: string) => void;
  readonly #intervalMs: number;
  #printedMs = -Infinity;
  #totalSteps: number | null = null;
  #reasonTimer: NodeJS.Timeout | undefined;

  /** @param intervalMs least time between two lines about steps */
  constructor(print: (line: string) => void, intervalMs = 2_000) {
    this.#print = print;
    this.#intervalMs = intervalMs;
  }

  begin({ name, runDir, numWorkers, slots, threads, url }: RunHeading): void {
    this.#print(
      `${name}: ${numWorkers} worker(s), ${slots} slot(s), ${threads} thread(s) each; coordinator at ${url}; files in ${runDir}`,
    );
  }

  note(text: string): void {
    this.#print(text);
  }

  onSteps(lines: readonly StepLine[], record: RunRecord): void {
    this.noteTotal(record);
    const nowMs = performance.now();
    if (nowMs - this.#printedMs < this.#intervalMs) return;
    this.#printedMs = nowMs;
    const last = lines.at(-1);
    if (!last) return;
    const { schedule } = record.shape;
    const rate = formatCount(record.samplesPerSecond() ?? 0);
    this.#print(
      `step ${last.step} of ${schedule.totalSteps}, epoch ${last.epoch}: ${formatMetrics({ loss: last.loss, ...last.metrics })}, ${rate} samples/s`,
    );
  }

  onValidation({ epoch, metrics }: Validation): void {
    this.#print(`epoch ${epoch}: ${formatMetrics(metrics)}`);
  }

  onCheckpoint(): void {
    // The summary names the last one; a line for each would drown the rest.
  }

  onRecovery(recovery: ToldRecovery): void {
    this.#print(describeRecovery(recovery));
  }

  protected noteTotal(record: RunRecord): void {
    this.#totalSteps = record.shape.schedule.totalSteps;
  }

  /** A wait that is over at once is nobody's business. */
  onReason(reason: string | null): void {
    clearTimeout(this.#reasonTimer);
    if (reason === null) return;
    this.#reasonTimer = setTimeout(() => {
      this.#print(reason);
    }, patienceMs);
  }

  end(): void {
    clearTimeout(this.#reasonTimer);
  }

  done(summary: Summary): void {
    for (const line of describeSummary(summary, this.#totalSteps)) process.stdout.write(`${line}\n`);
  }
}

/** A bar at the bottom of the terminal; other lines go above it. */
export class BarView extends LineView {
  readonly #bars: MultiBar;
  #bar: SingleBar | null = null;

  constructor() {
    const bars = new MultiBar(
      {
        format: ' {bar} {value}/{total} steps | {metrics} | {rate} samples/s | {left} left',
        hideCursor: true,
        stopOnComplete: false,
        clearOnComplete: false,
        emptyOnZero: true,
        stream: process.stderr,
      },
      Presets.shades_classic,
    );
    super((line) => {
      if (bars.isActive) bars.log(`${line}\n`);
      else process.stderr.write(`${line}\n`);
    });
    this.#bars = bars;
  }

  override onSteps(lines: readonly StepLine[], record: RunRecord): void {
    this.noteTotal(record);
    const last = lines.at(-1);
    if (!last) return;
    const { totalSteps } = record.shape.schedule;
    const rate = record.samplesPerSecond() ?? 0;
    const rowsLeft = record.shape.schedule.rowsSeen(totalSteps) - record.shape.schedule.rowsSeen(last.step);
    const payload = {
      metrics: formatMetrics({ loss: last.loss, ...last.metrics }),
      rate: formatCount(rate),
      left: rate > 0 ? formatSeconds(rowsLeft / rate) : '?',
    };
    this.#bar ??= this.#bars.create(totalSteps, last.step, payload);
    this.#bar.update(last.step, payload);
  }

  override end(): void {
    super.end();
    this.#bars.update();
    this.#bars.stop();
  }
}

/** Everything as records of the log. */
export class JsonView implements View {
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  begin(heading: RunHeading): void {
    this.#log.info('run', { ...heading });
  }

  note(text: string): void {
    this.#log.info(text);
  }

  onSteps(lines: readonly StepLine[]): void {
    for (const line of lines) this.#log.info('step', { ...line });
  }

  onValidation(validation: Validation): void {
    this.#log.info('validation', { ...validation });
  }

  onCheckpoint(step: number, path: string): void {
    this.#log.info('checkpoint', { step, path });
  }

  onRecovery(recovery: ToldRecovery): void {
    this.#log.info(describeRecovery(recovery), { recovery });
  }

  onReason(reason: string | null): void {
    if (reason !== null) this.#log.info(reason);
  }

  end(): void {
    // Nothing is held back.
  }

  done(summary: Summary): void {
    this.#log.info('summary', { ...summary });
  }
}

/** "worker w1 is lost at step 20 (it was killed by SIGKILL): 3 workers go on with its slots" */
export function describeRecovery(recovery: ToldRecovery): string {
  const { redoneSteps } = recovery;
  const again = redoneSteps === 1 ? 'one step is' : `${redoneSteps} steps are`;
  return `${describeChange(recovery)}${redoneSteps === 0 ? '' : `; ${again} taken again from there`}`;
}

function describeChange({ kind, workerId, step, why, numWorkers, detectedMs }: ToldRecovery): string {
  const goOn = numWorkers === 1 ? 'one worker goes on' : `${numWorkers} workers go on`;
  if (kind === 'joined') return `worker ${workerId} has joined at step ${step}: ${goOn}`;
  if (kind === 'coordinator') {
    return `the coordinator is back after ${formatSeconds(detectedMs / 1000)}, at step ${step}: ${goOn}`;
  }
  const what = {
    lost: 'is lost',
    silent: 'is lost',
    hung: 'is out',
    diverged: 'is out',
    slow: 'is out',
    left: 'has left',
  }[kind];
  return `worker ${workerId} ${what} at step ${step} (${why}): ${goOn} with its slots`;
}

function describeSummary(summary: Summary, totalSteps: number | null): string[] {
  const { steps, epochs, samplesPerSecond, wallSeconds, metrics, weightsSha256, checkpoint, engine, finalLoss } =
    summary;
  const stopped = totalSteps !== null && steps < totalSteps;
  const heading = stopped ? `Stopped after ${steps} of ${totalSteps} steps` : `Done: ${steps} steps`;
  const rate = samplesPerSecond === null ? '' : `, ${formatCount(samplesPerSecond)} samples/s`;
  return [
    `${heading}, ${epochs} epochs, in ${wallSeconds.toFixed(1)} s${rate} (${engine ?? 'no engine'})`,
    ...(finalLoss === null ? [] : [formatMetrics({ loss: finalLoss, ...metrics })]),
    ...(weightsSha256 === null ? [] : [`weights sha256 ${weightsSha256}`]),
    ...(checkpoint === null ? [] : [`checkpoint ${checkpoint}`]),
  ];
}

export function formatMetrics(metrics: Readonly<Record<string, number>>): string {
  return Object.entries(metrics)
    .map(([name, value]) => `${name} ${Math.abs(value) >= 1000 ? value.toExponential(3) : value.toFixed(4)}`)
    .join(', ');
}

function formatCount(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}

function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
