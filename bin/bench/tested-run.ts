/**
 * A run that is made to suffer: `lockstep coordinator` and `lockstep worker` as a user starts them, on this machine, each in a
 * process of its own. Workers have one slot each. What becomes of it is read where the run itself writes it down.
 */
import { mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { metricsFile, readRunFile } from '../../coordinator/run-folder.js';
import { LockstepError } from '../../src/errors.js';
import { CommandProcess } from './command-process.js';

const jobPath = fileURLToPath(new URL('./recovery-job.js', import.meta.url));
const rowsPerSlot = 64;

/** For the run to begin, for a worker to be lost or to join, and for the coordinator to be back. */
const timeoutMs = 60_000;
const pollMs = 5;

/** So many steps are written down by then, and not long. */
export interface Mark {
  readonly atMs: number;
  readonly step: number;
}

export class TestedRun {
  readonly folder: string;
  readonly #numWorkers: number;
  readonly #workers = new Map<string, CommandProcess>();
  #coordinator: CommandProcess;
  #numStarted = 0;

  private constructor(folder: string, numWorkers: number) {
    this.folder = folder;
    this.#numWorkers = numWorkers;
    this.#coordinator = this.#startCoordinator();
  }

  /** Resolves when it trains. */
  static async start(numWorkers: number): Promise<TestedRun> {
    const run = new TestedRun(await mkdtemp(join(tmpdir(), 'lockstep-bench-')), numWorkers);
    try {
      await run.#coordinator.line(/^Start \d+ worker/, timeoutMs);
      for (let worker = 0; worker < numWorkers; worker++) await run.#startWorker();
      await run.nextMark();
      return run;
    } catch (error) {
      await run.close();
      throw error;
    }
  }

  get workerIds(): readonly string[] {
    return [...this.#workers.keys()];
  }

  /** Sends a worker the signal; resolves when the others go on. When it was sent, in milliseconds since 1970. */
  async lose(workerId: string, signal: 'SIGKILL' | 'SIGSTOP'): Promise<number> {
    const worker = this.#workers.get(workerId);
    const lost = this.#coordinator.line(new RegExp(`^worker ${workerId} is lost at step `), timeoutMs);
    const atMs = clockMs();
    worker?.signal(signal);
    await lost;
    worker?.signal('SIGKILL');
    await worker?.ended;
    this.#workers.delete(workerId);
    return atMs;
  }

  /** Starts another worker; resolves when all of them go on. */
  async addWorker(): Promise<void> {
    const joined = this.#coordinator.line(/^worker \S+ has joined at step /, timeoutMs);
    await Promise.all([joined, this.#startWorker()]);
  }

  async killCoordinator(): Promise<void> {
    this.#coordinator.signal('SIGKILL');
    await this.#coordinator.ended;
  }

  /** By the same command; resolves when it has its workers. */
  async restartCoordinator(): Promise<void> {
    this.#coordinator = this.#startCoordinator();
    await this.#coordinator.line(/^the coordinator is back /, timeoutMs);
  }

  /** The next steps that are written down. A worker tells of several at a time, the last of them as it is committed. */
  async nextMark(): Promise<Mark> {
    const path = metricsFile(this.folder);
    const deadlineMs = performance.now() + timeoutMs;
    const before = await sizeOf(path);
    while (performance.now() < deadlineMs) {
      const size = await sizeOf(path);
      const step = size > before ? await lastStep(path, size) : null;
      if (step !== null) return { atMs: performance.now(), step };
      await delay(pollMs);
    }
    throw new LockstepError('ERR_TIMEOUT', `The run in ${this.folder} has taken no step for ${timeoutMs} ms.`);
  }

  async close(): Promise<void> {
    const processes = [this.#coordinator, ...this.#workers.values()];
    for (const process of processes) process.signal('SIGKILL');
    await Promise.all(processes.map(({ ended }) => ended));
    await rm(this.folder, { recursive: true, force: true });
  }

  #startCoordinator(): CommandProcess {
    const workers = String(this.#numWorkers);
    const fixed = [`slots=${workers}`, 'threads=1', `batchSize=${this.#numWorkers * rowsPerSlot}`];
    const settings = fixed.flatMap((setting) => ['--set', setting]);
    return CommandProcess.start(['coordinator', jobPath, '--workers', workers, '--run-dir', this.folder, ...settings]);
  }

  async #startWorker(): Promise<void> {
    const { url, tokenFile } = await readRunFile(this.folder);
    const workerId = `w${this.#numStarted++}`;
    const flags = ['--join', url, '--id', workerId, '--device', 'cpu', '--token-file', tokenFile ?? ''];
    this.#workers.set(workerId, CommandProcess.start(['worker', ...flags]));
  }
}

/** The clock of flight recorders. */
function clockMs(): number {
  return performance.timeOrigin + performance.now();
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

/** More than one line has. */
const tailBytes = 4096;

/** Of the last line; null where it is not whole. */
async function lastStep(path: string, size: number): Promise<number | null> {
  const file = await open(path);
  try {
    const from = Math.max(0, size - tailBytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
    const line = buffer.toString('utf8', 0, bytesRead).split('\n').at(-2);
    const step = /^\{"step":(\d+),/.exec(line ?? '')?.[1];
    return step === undefined ? null : Number(step);
  } finally {
    await file.close();
  }
}
