/**
 * Keeps what this worker did last, in the comm thread, and writes it to the run directory at each halt and each error: aside, when
 * what it is about has been answered. Nothing of it ends a run.
 */
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { FrameRing } from '../../src/flight/frame-record.js';
import { overdueFlightFiles, workerFlightFile, type FlightEvent, type WorkerFlight } from '../../src/flight/records.js';
import type { StepRing } from '../../src/flight/step-ring.js';

const numFrames = 4096;
const numEvents = 500;

export interface FlightRecorderOptions {
  readonly workerId: string;
  /** Told once, where nothing can be written. */
  readonly onUnwritable: (why: string) => void;
}

export class FlightRecorder {
  readonly frames = new FrameRing(numFrames);
  readonly #options: FlightRecorderOptions;
  #events: FlightEvent[] = [];
  #numEvents = 0;
  #place: { readonly runDir: string; readonly runId: string } | null = null;
  #steps: StepRing | null = null;
  #generation = 0;
  #isUnwritable = false;
  #written: Promise<void> = Promise.resolve();

  constructor(options: FlightRecorderOptions) {
    this.#options = options;
  }

  /** Before this nothing is written. */
  writeTo(place: { readonly runDir: string; readonly runId: string }): void {
    this.#place = place;
  }

  recordSteps(steps: StepRing): void {
    this.#steps = steps;
  }

  enter(generation: number): void {
    this.#generation = generation;
  }

  note(kind: string, text: string, generation: number | null = null): void {
    this.#events.push({ number: this.#numEvents++, atMs: clockMs(), kind, generation, text });
    if (this.#events.length >= 2 * numEvents) this.#events = this.#events.slice(-numEvents);
  }

  /** Writes what is known by now, soon; one after the other. */
  write(): void {
    const place = this.#place;
    if (!place || this.#isUnwritable) return;
    const soon = new Promise<void>((resolve) => setImmediate(resolve));
    this.#written = Promise.all([soon, this.#written]).then(async () => {
      await this.#writeTo(place.runDir, this.#content(place.runId)).catch((error: unknown) => {
        this.#isUnwritable = true;
        this.#options.onUnwritable(error instanceof Error ? error.message : String(error));
      });
    });
  }

  /** Resolves when all that was to be written is. */
  get written(): Promise<void> {
    return this.#written;
  }

  #content(runId: string): WorkerFlight {
    const { buffer, byteOffset, byteLength } = this.frames.bytes();
    return {
      version: 1,
      runId,
      workerId: this.#options.workerId,
      host: hostname(),
      pid: process.pid,
      generation: this.#generation,
      writtenMs: clockMs(),
      events: this.#events,
      steps: this.#steps?.last() ?? [],
      frames: Buffer.from(buffer, byteOffset, byteLength).toString('base64'),
    };
  }

  /** The run's folder is not made here: where it is missing, this host does not share it. */
  async #writeTo(runDir: string, content: WorkerFlight): Promise<void> {
    const folder = join(runDir, 'flight');
    await mkdir(folder).catch((error: unknown) => {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    });
    const path = join(folder, workerFlightFile(content.workerId, content.generation));
    await writeFile(`${path}.tmp`, JSON.stringify(content));
    await rename(`${path}.tmp`, path);
    const overdue = overdueFlightFiles(await readdir(folder), content.generation);
    await Promise.all(overdue.map(async (name) => rm(join(folder, name), { force: true })));
  }
}

const originMs = performance.timeOrigin;

/** Equal in both threads of this process, and finer than `Date.now()`. */
export function clockMs(): number {
  return originMs + performance.now();
}
