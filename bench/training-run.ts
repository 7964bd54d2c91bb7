/**
 * A run of `lockstep train` that is watched from outside: how many steps it takes in a second once it is warm, and how
 * much memory its workers have had. Its steps are counted in metrics.jsonl, which grows as steps are committed.
 */
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { z } from 'zod';
import { lockstepEntry, oneThread, root } from './child.js';
import { MemoryWatch, type PeakMemory } from './peak-memory.js';

export interface TrainingOptions {
  /** In bench/jobs. */
  readonly job: string;
  readonly numWorkers: number;
  /** Over all workers. @default the job's */
  readonly batchSize?: number;
  /** Steps and seconds that do not count, both. */
  readonly warmup?: { readonly steps: number; readonly seconds: number };
  /** How long to measure. */
  readonly seconds: number;
  /** How long to wait for its first step. @default 300,000 */
  readonly startTimeoutMs?: number;
  /** More `--set`. */
  readonly set?: readonly string[];
  /** Looks at the memory of its workers, which takes time from them. @default false */
  readonly watchesMemory?: boolean;
}

/** Fields of the summary that are looked at. */
const summarySchema = z.looseObject({
  ok: z.boolean(),
  /** Milliseconds of a step by what they went into; absent where workers do not tell. */
  stepTime: z.record(z.string(), z.number()).nullish(),
});

export interface TrainingMeasurement {
  readonly stepsPerSecond: number;
  /** Of each worker; none where it was not asked for. */
  readonly memory: readonly PeakMemory[];
  readonly stepTime: Readonly<Record<string, number>> | null;
}

const pollMs = 20;
const defaultStartTimeoutMs = 300_000;
const defaultWarmup = { steps: 20, seconds: 2 } as const;

/** When metrics.jsonl had grown to how many bytes. */
interface Mark {
  readonly atMs: number;
  readonly bytes: number;
}

export async function measureTraining(options: TrainingOptions): Promise<TrainingMeasurement> {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-bench-'));
  const run = start(options, folder);
  const memory = new MemoryWatch();
  const watching = options.watchesMemory === true ? memory.run(() => workersOf(run.pid ?? 0)) : Promise.resolve();
  try {
    const marks = await Promise.race([watch(options, folder), failure(run)]);
    run.kill('SIGINT');
    await run;
    const text = await readFile(join(folder, 'summary.json'), 'utf8');
    const summary = summarySchema.parse(JSON.parse(text));
    return {
      stepsPerSecond: await rate(folder, marks, options),
      memory: memory.peaks,
      stepTime: summary.stepTime ?? null,
    };
  } finally {
    memory.end();
    await watching;
    run.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
}

function start({ job, numWorkers, batchSize, set = [] }: TrainingOptions, folder: string) {
  const settings = ['threads=1', ...(batchSize === undefined ? [] : [`batchSize=${batchSize}`]), ...set];
  const args = ['train', join(root, 'bench', 'jobs', job), '--workers', String(numWorkers), '--run-dir', folder];
  const command = [lockstepEntry, ...args, ...settings.flatMap((one) => ['--set', one])];
  return execa(process.execPath, command, { cwd: root, env: oneThread });
}

type Run = ReturnType<typeof start>;

/** Never resolves well: the run goes on until it is stopped. */
async function failure(run: Run): Promise<never> {
  await run;
  throw new Error('the run ended before it was measured');
}

/** Watches a run until enough of it is seen. */
async function watch(options: TrainingOptions, folder: string): Promise<Mark[]> {
  const { warmup = defaultWarmup, seconds, startTimeoutMs = defaultStartTimeoutMs } = options;
  const path = join(folder, 'metrics.jsonl');
  const deadlineMs = performance.now() + startTimeoutMs;
  const marks: Mark[] = [];
  let warmMs = Infinity;
  for (;;) {
    await delay(pollMs);
    const bytes = await stat(path).then(
      ({ size }) => size,
      () => 0,
    );
    const atMs = performance.now();
    if (marks.length === 0 && atMs > deadlineMs) throw new Error(`no step within ${startTimeoutMs} ms`);
    if (bytes === 0 || bytes === marks.at(-1)?.bytes) continue;
    marks.push({ atMs, bytes });
    const steps = await countLines(path, bytes, warmMs === Infinity);
    if (warmMs === Infinity && steps >= warmup.steps && atMs - (marks[0]?.atMs ?? atMs) >= warmup.seconds * 1000) {
      warmMs = atMs;
      marks.length = 0;
      marks.push({ atMs, bytes });
    }
    if (atMs - warmMs >= seconds * 1000) return marks;
  }
}

/** Reading the file is spared once nobody asks any more. */
async function countLines(path: string, bytes: number, wanted: boolean): Promise<number> {
  return wanted ? linesIn(await readFile(path), bytes) : 0;
}

function linesIn(content: Buffer, bytes: number): number {
  return content.subarray(0, bytes).reduce((count, byte) => (byte === 0x0a ? count + 1 : count), 0);
}

/** Steps per second between the first mark and the last. */
async function rate(folder: string, marks: readonly Mark[], { job }: TrainingOptions): Promise<number> {
  const [first, last] = [marks[0], marks.at(-1)];
  if (!first || !last || first === last)
    throw new Error(`${job}: fewer than two measurements of its steps; measure longer`);
  const content = await readFile(join(folder, 'metrics.jsonl'));
  return (linesIn(content, last.bytes) - linesIn(content, first.bytes)) / ((last.atMs - first.atMs) / 1000);
}

/** The workers of `lockstep train` are its children (proc(5)); others of its children are no Node processes. */
async function workersOf(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  const pids = children.split(' ').filter(Boolean).map(Number);
  const commands = await Promise.all(pids.map((child) => readFile(`/proc/${child}/cmdline`, 'utf8').catch(() => '')));
  return pids.filter((_, index) => commands[index]?.includes('\0worker\0'));
}
