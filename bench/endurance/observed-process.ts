/** A `lockstep` command that is watched: what it says, and what is alive in it, by its own account and the kernel's. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { CommandProcess } from '../../bin/bench/command-process.js';
import { lockstepEntry, oneThread } from '../child.js';

const observer = new URL('./observe.mjs', import.meta.url);

/**
 * In its smallest size, V8's space for young objects is always as large. Otherwise it goes between 2 and 32 MB as objects come and
 * go, which is more than what is looked for.
 */
const smallYoungSpace = '--max-semi-space-size=1';

const observationSchema = z.strictObject({
  number: z.int(),
  thread: z.int(),
  heapBytes: z.int(),
  bufferBytes: z.int(),
  handles: z.int(),
  tensors: z.int().nullable(),
});
type Observation = z.output<typeof observationSchema>;

/** What is alive in a process: numbers by name. */
export type Sample = Readonly<Record<string, number>>;

/** For a line to be said, and for every thread to tell what is alive in it. */
const timeoutMs = 300_000;
const pollMs = 10;

export class ObservedProcess {
  readonly #process: CommandProcess;
  readonly #file: string;
  #hasEnded = false;
  #numObserved = 0;

  private constructor(args: readonly string[], observations: string) {
    const env = { NODE_OPTIONS: `--import ${observer.href} ${smallYoungSpace}`, LOCKSTEP_OBSERVATIONS: observations };
    this.#process = CommandProcess.start(args, { entry: lockstepEntry, env: { ...oneThread, ...env } });
    this.#file = `${observations}.${this.#process.pid}`;
    void this.ended.then(() => (this.#hasEnded = true));
  }

  /** @param observations where its threads write, with the process id */
  static start(args: readonly string[], observations: string): ObservedProcess {
    return new ObservedProcess(args, observations);
  }

  /** Resolves when it has ended, however it did. */
  get ended(): Promise<unknown> {
    return this.#process.ended;
  }

  signal(name: NodeJS.Signals): void {
    this.#process.signal(name);
  }

  /** Resolves with the next line that matches. To be called before what makes the process say it. */
  async line(pattern: RegExp): Promise<string> {
    return this.#process.line(pattern, timeoutMs);
  }

  /** @param numThreads those with a JavaScript of their own */
  async sample(numThreads: number): Promise<Sample> {
    const told = await this.#observe(numThreads);
    const numbers = told.flatMap((one, index) => Object.entries(ofThread(one, index)));
    return { ...(await kernelsSample(this.#process.pid)), ...Object.fromEntries(numbers) };
  }

  async #observe(numThreads: number): Promise<Observation[]> {
    const number = ++this.#numObserved;
    this.signal('SIGUSR2');
    const deadlineMs = performance.now() + timeoutMs;
    while (performance.now() < deadlineMs && !this.#hasEnded) {
      const told = (await readObservations(this.#file)).filter((one) => one.number === number);
      if (told.length >= numThreads) return told.toSorted((a, b) => a.thread - b.thread);
      await delay(pollMs);
    }
    const how = this.#hasEnded ? 'it has ended' : `not within ${timeoutMs} ms`;
    const last = this.#process.lastLines.join('\n');
    throw new Error(
      `The ${numThreads} threads of process ${this.#process.pid} have not all told what is alive: ${how}. Its last lines: ${last}`,
    );
  }
}

/** Whole lines. */
async function readObservations(path: string): Promise<Observation[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
  return lines.filter((line) => line !== '').map((line) => observationSchema.parse(JSON.parse(line)));
}

function ofThread({ heapBytes, bufferBytes, handles, tensors }: Observation, index: number): Sample {
  const name = index === 0 ? 'main' : `thread ${index}`;
  return {
    [`heapBytes, ${name}`]: heapBytes,
    [`bufferBytes, ${name}`]: bufferBytes,
    [`handles, ${name}`]: handles,
    ...(tensors === null ? {} : { [`tensors, ${name}`]: tensors }),
  };
}

/** As Linux tells it (proc(5)). */
async function kernelsSample(pid: number): Promise<Sample> {
  const read = async (name: string): Promise<string> => readFile(`/proc/${pid}/${name}`, 'utf8');
  const [status, rollup, maps, files] = await Promise.all([
    read('status'),
    read('smaps_rollup'),
    read('maps'),
    openFiles(pid),
  ]);
  const number = (text: string, name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? NaN);
  return {
    residentBytes: number(status, 'VmRSS') * 1024,
    ownBytes: number(rollup, 'Anonymous') * 1024,
    threads: number(status, 'Threads'),
    mappings: maps.split('\n').length - 1,
    files: files.length,
    sockets: files.filter((target) => target.startsWith('socket:')).length,
    sharedMemories: files.filter((target) => target.startsWith('/memfd:')).length,
  };
}

/** What each descriptor leads to. */
async function openFiles(pid: number): Promise<string[]> {
  const folder = `/proc/${pid}/fd`;
  const names = await readdir(folder);
  const targets = await Promise.all(names.map(async (name) => readlink(`${folder}/${name}`).catch(() => null)));
  return targets.filter((target) => target !== null);
}
