/**
 * Keeps the checkpoint of the best validation of a run, as `best.safetensors` beside the others and whatever becomes of them, and writes
 * down which one it is, so that a run that goes on compares with it.
 */
import { copyFile, link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { judge, noValidation, type BestConfig, type Standing } from '../src/job/best.js';
import type { Log } from '../src/log.js';
import { checkpointFolder } from './run-folder.js';
import type { Validation } from './run-record.js';

const noteSchema = z.object({ metric: z.string(), step: z.int(), value: z.number() });
type Note = z.output<typeof noteSchema>;

export interface BestCheckpointOptions {
  readonly runDir: string;
  readonly config: BestConfig;
  /** Another name for a file. @default that of node:fs; others copy */
  readonly link?: (from: string, to: string) => Promise<void>;
  readonly log: Log;
}

export class BestCheckpoint {
  readonly #options: BestCheckpointOptions;
  #standing: Standing = noValidation;
  #best: Note | null = null;
  /** By step, those that lie in the folder and whose validation is not known yet. */
  readonly #written = new Map<number, string>();
  /** One after the other. */
  #work: Promise<void>;

  constructor(options: BestCheckpointOptions) {
    this.#options = options;
    this.#work = this.#read();
  }

  onCheckpoint(step: number, path: string): void {
    this.#written.set(step, path);
    this.#queue(() => this.#keepIfBest());
  }

  onValidation({ step, metrics }: Validation): void {
    this.#queue(async () => {
      const { config } = this.#options;
      const value = metrics[config.metric] ?? NaN;
      const standing = judge(config, this.#standing, value);
      this.#standing = standing;
      if (standing.count === 1) this.#best = { metric: config.metric, step, value };
      for (const other of this.#written.keys()) if (other < (this.#best?.step ?? 0)) this.#written.delete(other);
      await this.#keepIfBest();
    });
  }

  /** Resolves when all that was heard of is done. */
  async settled(): Promise<void> {
    await this.#work;
  }

  async #keepIfBest(): Promise<void> {
    const best = this.#best;
    const path = best ? this.#written.get(best.step) : undefined;
    if (!best || path === undefined) return;
    this.#written.delete(best.step);
    const folder = checkpointFolder(this.#options.runDir);
    await this.#replace(join(folder, 'best.safetensors'), (aside) => this.#linkOrCopy(path, aside));
    await this.#replace(noteFile(this.#options.runDir), (aside) => writeFile(aside, `${JSON.stringify(best)}\n`));
  }

  async #replace(path: string, make: (aside: string) => Promise<void>): Promise<void> {
    const aside = `${path}.tmp`;
    await rm(aside, { force: true });
    await make(aside);
    await rename(aside, path);
  }

  async #linkOrCopy(from: string, to: string): Promise<void> {
    const { link: name = link } = this.#options;
    await name(from, to).catch(() => copyFile(from, to)); // where a file has one name only
  }

  async #read(): Promise<void> {
    const text = await readFile(noteFile(this.#options.runDir), 'utf8').catch(() => null); // there is none yet
    if (text === null) return;
    const note = noteSchema.safeParse(parseJson(text));
    if (note.data?.metric !== this.#options.config.metric) return;
    this.#best = note.data;
    this.#standing = { best: note.data.value, count: 1 };
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
