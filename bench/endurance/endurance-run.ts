/**
 * A run that goes through recovery after recovery: a real coordinator, two workers that live as long as the run does, and two
 * places whose workers are killed, stopped or asked to leave, and replaced.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { readRunFile } from '../../coordinator/run-folder.js';
import { ObservedProcess, type Sample } from './observed-process.js';

const jobPath = fileURLToPath(new URL('job.ts', import.meta.url));

/** Ranks follow the names: one survivor is rank 0, which tells of steps, and one is the last. */
const survivorIds = ['a', 'z'] as const;
const places = ['m', 'n'] as const;

/** What is let go a while after a generation has begun (worker/comm/windows.ts) is gone by then. */
const settleMs = 1_500;

/** A machine that is busy may keep a worker from beating for longer than the default: here nobody looks at how soon a loss is seen. */
const patience = ['--heartbeat-timeout-ms', '5000'];

/** The JavaScript of a worker: where it computes, and where it talks. */
const workerThreads = 2;

/** How a worker is lost. Most are killed; now and then one leaves by wish, or is stopped, which takes a while to notice. */
const ways = {
  killed: { signal: 'SIGKILL', words: 'is lost' },
  left: { signal: 'SIGTERM', words: 'has left' },
  stopped: { signal: 'SIGSTOP', words: 'is lost' },
} as const;

const summarySchema = z.looseObject({ ok: z.boolean(), recoveries: z.array(z.unknown()) });

/** By "coordinator", or the id of a worker. */
export type Samples = Readonly<Record<string, Sample>>;

export class EnduranceRun {
  readonly #folder: string;
  readonly #workers = new Map<string, ObservedProcess>();
  #coordinator: ObservedProcess;
  #numStarted = 0;

  private constructor(folder: string) {
    this.#folder = folder;
    this.#coordinator = this.#startCoordinator();
  }

  /** Resolves when it trains. */
  static async start(): Promise<EnduranceRun> {
    const run = new EnduranceRun(await mkdtemp(join(tmpdir(), 'lockstep-endurance-')));
    try {
      await run.#coordinator.line(/^Start \d+ worker/);
      const trains = run.#coordinator.line(/^step \d+ of/);
      await Promise.all([...survivorIds, ...places.map(() => run.#nameNext())].map((id) => run.#startWorker(id)));
      await trains;
      return run;
    } catch (error) {
      await run.close();
      throw error;
    }
  }

  /** Loses both workers that are not to survive, one after the other, and gets two others; resolves when all train. */
  async loseTwo(...how: readonly (keyof typeof ways)[]): Promise<void> {
    const victims = [...this.#workers.keys()].filter((id) => !survivorIds.some((survivor) => survivor === id));
    for (const [index, id] of victims.entries()) await this.#lose(id, how[index] ?? 'killed');
    const joining = victims.map(() => this.#nameNext());
    const joined = joining.map((id) => this.#coordinator.line(new RegExp(`^worker ${id} has joined at step `)));
    await Promise.all([...joined, ...joining.map((id) => this.#startWorker(id))]);
  }

  /** Kills the coordinator and starts it again; resolves when it has its workers. */
  async loseCoordinator(): Promise<void> {
    this.#coordinator.signal('SIGKILL');
    await this.#coordinator.ended;
    this.#coordinator = this.#startCoordinator();
    await this.#coordinator.line(/^the coordinator is back /);
  }

  /** What is alive in the coordinator and in the workers that survive. */
  async sample(): Promise<Samples> {
    await delay(settleMs);
    const observed = [
      ['coordinator', this.#coordinator, 1] as const,
      ...survivorIds.map((id) => [id, this.#workers.get(id), workerThreads] as const),
    ];
    const samples = observed.map(async ([name, process, numThreads]) => [name, await process?.sample(numThreads)]);
    return Object.fromEntries(await Promise.all(samples)) as Samples; // a survivor that is missing has failed the run
  }

  /** Stops it in good order; resolves with the recoveries that its summary tells of. */
  async end(): Promise<number> {
    this.#coordinator.signal('SIGINT');
    await this.#coordinator.ended;
    const { ok, recoveries } = summarySchema.parse(
      JSON.parse(await readFile(join(this.#folder, 'summary.json'), 'utf8')),
    );
    if (!ok) throw new Error('the run did not end well');
    return recoveries.length;
  }

  async close(): Promise<void> {
    const processes = [this.#coordinator, ...this.#workers.values()];
    for (const process of processes) process.signal('SIGKILL');
    await Promise.all(processes.map(({ ended }) => ended));
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #lose(workerId: string, how: keyof typeof ways): Promise<void> {
    const worker = this.#workers.get(workerId);
    const { signal, words } = ways[how];
    const lost = this.#coordinator.line(new RegExp(`^worker ${workerId} ${words} at step `));
    worker?.signal(signal);
    await lost;
    worker?.signal('SIGKILL');
    await worker?.ended;
    this.#workers.delete(workerId);
  }

  #nameNext(): string {
    const number = this.#numStarted++;
    return `${places[number % places.length] ?? ''}${number}`;
  }

  #startCoordinator(): ObservedProcess {
    const numWorkers = String(survivorIds.length + places.length);
    return this.#start(['coordinator', jobPath, '--workers', numWorkers, '--run-dir', this.#folder, ...patience]);
  }

  async #startWorker(workerId: string): Promise<void> {
    const { url, tokenFile } = await readRunFile(this.#folder);
    const flags = ['--join', url, '--id', workerId, '--device', 'cpu', '--token-file', tokenFile ?? ''];
    this.#workers.set(workerId, this.#start(['worker', ...flags, ...patience]));
  }

  #start(args: readonly string[]): ObservedProcess {
    return ObservedProcess.start(args, join(this.#folder, 'observed'));
  }
}
