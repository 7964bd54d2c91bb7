/**
 * Keeps the checkpoint of the best validation of a run, as `best.safetensors` beside the others and whatever becomes of them. Which
 * validation that is, it writes down as soon as it knows, and the checkpoint may come before or after that: so a coordinator that is
 * started again compares with the best one, and keeps its checkpoint where this one could not.
 */
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { copyFile, link, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { judge, noValidation, type BestConfig, type Standing } from '../src/job/best.js';
import type { Log } from '../src/log.js';
import { numberSchema, toJson } from '../src/state/json-numbers.js';
import { checkpointFolder } from './run-folder.js';
import type { Validation } from './run-record.js';

/** `isKept`: its checkpoint is `best.safetensors`; else that is of the best one before it, if there was any. */
const noteSchema = z.object({ metric: z.string(), step: z.int(), value: numberSchema, isKept: z.boolean() });
type Note = z.output<typeof noteSchema>;
type Best = Omit<Note, 'isKept'>;

export interface BestCheckpointOptions {
  readonly runDir: string;
  readonly config: BestConfig;
  /** The run is not at its beginning: what is written down is of this one. */
  readonly goesOn: boolean;
  /** Where the checkpoint of so many steps lies, once it is written. */
  readonly pathOf: (step: number) => string;
  /** Another name for a file. @default that of node:fs; others copy */
  readonly link?: (from: string, to: string) => Promise<void>;
  readonly log: Log;
}

export class BestCheckpoint {
  readonly #options: BestCheckpointOptions;
  #standing: Standing = noValidation;
  /** The best validation, as long as its checkpoint may come. */
  #awaited: Best | null = null;
  /** Steps of the newest checkpoint that was heard of. */
  #newest = 0;
  /** One after the other. */
  #work: Promise<void>;

  constructor(options: BestCheckpointOptions) {
    this.#options = options;
    this.#work = options.goesOn ? this.#read() : Promise.resolve();
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
      this.#standing = judge(config, this.#standing, value);
      if (this.#standing.count === 1) {
        this.#awaited = { metric: config.metric, step, value };
        this.#note({ ...this.#awaited, isKept: false });
      }
      await this.#keepIfThere();
    });
  }

  /** Resolves when all that was heard of is done. */
  async settled(): Promise<void> {
    await this.#work;
  }

  async #keepIfThere(): Promise<void> {
    const best = this.#awaited;
    if (!best) return;
    const path = this.#options.pathOf(best.step);
    const isWritten = existsSync(path);
    if (!isWritten && best.step > this.#newest) return;
    this.#awaited = null;
    // They come in the order of their steps.
    if (!isWritten) throw new Error(`${path} is not there`);
    const kept = join(checkpointFolder(this.#options.runDir), 'best.safetensors');
    rmSync(`${kept}.tmp`, { force: true });
    await this.#linkOrCopy(path, `${kept}.tmp`);
    renameSync(`${kept}.tmp`, kept);
    this.#note({ ...best, isKept: true });
  }

  /** At once: the checkpoint that is to be kept soon makes way for later ones. */
  #note(note: Note): void {
    const file = noteFile(this.#options.runDir);
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
    if (note?.metric !== this.#options.config.metric) return;
    this.#standing = { best: note.value, count: 1 };
    const { isKept, ...best } = note;
    if (!isKept) this.#awaited = best;
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
    return null; // torn, as by a full disk: the next best one counts
  }
}
