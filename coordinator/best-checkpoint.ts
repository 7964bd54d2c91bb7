/**
 * Keeps the checkpoint of the best validation of a run, as `best.safetensors` beside the others and whatever becomes of them. Which
 * validation that is, it writes down as soon as it knows, and the checkpoint may come before or after that: so a coordinator that is
 * started again compares with the best one, and keeps its checkpoint where this one could not.
 */
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { copyFile, link, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { judge, noValidation, type BestConfig } from '../src/job/best.js';
import type { Log } from '../src/log.js';
import { numberSchema, toJson } from '../src/state/json-numbers.js';
import { checkpointFolder } from './run-folder.js';
import type { Validation } from './run-record.js';

const rankedSchema = z.object({ step: z.int(), value: numberSchema });
/** A validation, by the steps before it and its value. */
type Ranked = z.output<typeof rankedSchema>;

/** `best.json`: which one `best.safetensors` is, if it is there, and a better one whose checkpoint may come. */
const noteSchema = z.object({
  metric: z.string(),
  ...rankedSchema.partial().shape,
  awaited: rankedSchema.optional(),
});

export interface BestCheckpointOptions {
  readonly runDir: string;
  readonly config: BestConfig;
  /** The run is not at its beginning: what is written down is of this one. */
  readonly goesOn: boolean;
  /** Where the checkpoint of so many steps lies, once it is written. */
  readonly pathOf: (step: number) => string;
  /** Of a file that nobody told this coordinator of: a run that goes on may find damaged ones. */
  readonly isWhole: (path: string) => Promise<boolean>;
  /** Another name for a file. @default that of node:fs; others copy */
  readonly link?: (from: string, to: string) => Promise<void>;
  readonly log: Log;
}

export class BestCheckpoint {
  readonly #options: BestCheckpointOptions;
  /** That of `best.safetensors`. */
  #kept: Ranked | null = null;
  /** A better one, as long as its checkpoint may come. */
  #awaited: Ranked | null = null;
  /** Steps of the newest checkpoint that was heard of; they come in the order of their steps. */
  #newest = 0;
  /** One after the other. */
  #work: Promise<void>;

  constructor(options: BestCheckpointOptions) {
    this.#options = options;
    this.#work = Promise.resolve();
    if (!options.goesOn) return;
    this.#queue(() => this.#read());
    this.#queue(() => this.#keepIfThere());
  }

  /** One is written. */
  onCheckpoint(step: number): void {
    this.#queue(async () => {
      this.#newest = step;
      await this.#keepIfThere();
    });
  }

  /** One that was told before changes nothing. */
  onValidation({ step, metrics }: Validation): void {
    this.#queue(async () => {
      const { config } = this.#options;
      const value = metrics[config.metric] ?? NaN;
      const before = this.#awaited ?? this.#kept;
      const { count } = judge(config, before ? { best: before.value, count: 1 } : noValidation, value);
      if (count !== 1) return;
      this.#awaited = { step, value };
      this.#note();
      await this.#keepIfThere();
    });
  }

  /** Resolves when all that was heard of is done. */
  async settled(): Promise<void> {
    await this.#work;
  }

  async #keepIfThere(): Promise<void> {
    const awaited = this.#awaited;
    if (!awaited) return;
    const path = this.#options.pathOf(awaited.step);
    const isThere = existsSync(path) && (awaited.step === this.#newest || (await this.#options.isWhole(path)));
    if (!isThere && awaited.step > this.#newest) return;
    this.#awaited = null;
    if (isThere) await this.#keep(path, awaited);
    this.#note();
    if (!isThere) throw new Error(`${path} is not there, or not whole`);
  }

  async #keep(path: string, best: Ranked): Promise<void> {
    const kept = join(checkpointFolder(this.#options.runDir), 'best.safetensors');
    rmSync(`${kept}.tmp`, { force: true });
    await this.#linkOrCopy(path, `${kept}.tmp`);
    renameSync(`${kept}.tmp`, kept);
    this.#kept = best;
  }

  /** At once: the checkpoint that is to be kept soon makes way for later ones. */
  #note(): void {
    const { runDir, config } = this.#options;
    const note = { metric: config.metric, ...this.#kept, ...(this.#awaited && { awaited: this.#awaited }) };
    const file = noteFile(runDir);
    writeFileSync(`${file}.tmp`, `${toJson(note)}\n`);
    renameSync(`${file}.tmp`, file);
  }

  async #linkOrCopy(from: string, to: string): Promise<void> {
    const { link: name = link } = this.#options;
    await name(from, to).catch(() => copyFile(from, to)); // where a file has one name only
  }

  async #read(): Promise<void> {
    const text = await readFile(noteFile(this.#options.runDir), 'utf8').catch(() => null); // there is none yet
    if (text === null) return;
    const { data: note } = noteSchema.safeParse(parseJson(text));
    if (!note) throw new Error(`${noteFile(this.#options.runDir)} cannot be read; the next best one counts`);
    const { metric, step, value, awaited = null } = note;
    if (metric !== this.#options.config.metric) return;
    this.#kept = step === undefined || value === undefined ? null : { step, value };
    this.#awaited = awaited;
  }

  #queue(work: () => Promise<void>): void {
    this.#work = this.#work.then(work).catch((error: unknown) => {
      const why = error instanceof Error ? error.message : String(error);
      this.#options.log.warn(`the best checkpoint is not kept: ${why}`);
    });
  }
}

function noteFile(runDir: string): string {
  return join(checkpointFolder(runDir), 'best.json');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // torn, as by a full disk
  }
}
