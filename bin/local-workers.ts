/**
 * Workers as child processes of this one, one for each GPU where there are GPUs. Each has a place, and a name of its own: the
 * one that takes the place of w1 is w1.2. They outlive this process where it is killed: who takes the run back finds them by
 * what the journal says, and watches them by their process ids.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Launched } from '../coordinator/journal.js';
import { isRunning, type ProcessMark } from '../coordinator/process-mark.js';
import { LockstepError } from '../src/errors.js';
import type { Log } from '../src/log.js';
import type { Limits } from '../src/protocol/limits.js';
import { formatEndpoint } from '../transport/endpoint.js';
import { limitFlags } from './options.js';
import { Replacements } from './replacements.js';
import type { Launcher } from './run.js';
import { startWorkerProcess, watchWorkerProcess, type Ending, type WorkerProcess } from './worker-process.js';

export interface LocalWorkersOptions {
  readonly numWorkers: number;
  /** Ids of GPUs, shared out in turn; none: the CPU. */
  readonly gpus: readonly string[];
  /** The command to start `lockstep` with: [node, script]. */
  readonly command: readonly [string, string];
  readonly json: boolean;
  /** Handed on to the workers. */
  readonly limits: Limits;
  /** Within ten minutes; 0: whoever dies is not replaced. */
  readonly maxReplacements: number;
}

/** A worker that was started before this process was, the nth of its place. */
interface Found {
  readonly nth: number;
  readonly mark: ProcessMark;
}

type Run = Parameters<Launcher['start']>[0];

/** How long a lost worker's process may take to end, for its end to be told. */
const explanationTimeoutMs = 2_000;

/** For one that is out of the run to end by itself, with what its flight recorder has; one that is stopped, or hangs, does not. */
const lastWordsMs = 500;

/** For workers to end when the run has, before they are killed. */
const closingTimeoutMs = 10_000;

export class LocalWorkers implements Launcher {
  readonly #options: LocalWorkersOptions;
  readonly #replacements: Replacements;
  /** By process id. */
  readonly #children = new Map<number, WorkerProcess>();
  /** How processes ended that are no more, by process id. */
  readonly #endings = new Map<number, Ending>();
  readonly #warnings = new Set<string>();
  readonly #timers = new Set<NodeJS.Timeout>();
  /** In which a worker runs, or is about to. */
  readonly #places = new Set<number>();
  /** By place, how many workers it has had. */
  readonly #numStarted: number[] = [];
  #numWanted: number;
  #launched: readonly Launched[] = [];
  #run: Run | null = null;
  #closing = false;

  constructor(options: LocalWorkersOptions) {
    this.#options = options;
    this.#replacements = new Replacements(options.maxReplacements);
    this.#numWanted = options.numWorkers;
  }

  start(run: Run): void {
    this.#run = run;
    this.#numWanted = run.numWanted;
    this.#launched = run.launched;
    for (const [index, found] of placesOf(run.launched)) {
      this.#places.add(index);
      void this.#keep(index, run, found);
    }
    this.#fill(run);
  }

  /** Those that are too many leave the run by themselves, and are not replaced. */
  scale(numWorkers: number): void {
    this.#numWanted = numWorkers;
    if (this.#run && !this.#closing) this.#fill(this.#run);
  }

  /** Null also where the process lives on: its connection is gone all the same. */
  async explainLoss(pid: number): Promise<string | null> {
    const ending = this.#endings.get(pid) ?? this.#children.get(pid)?.ended;
    if (!ending) return null;
    return Promise.race([
      Promise.resolve(ending).then(({ how }) => how),
      delay(explanationTimeoutMs, null, { ref: false }),
    ]);
  }

  end(pid: number): void {
    setTimeout(() => {
      this.#kill(pid);
    }, lastWordsMs);
  }

  kill(): void {
    for (const pid of this.#children.keys()) this.#kill(pid);
  }

  release(): void {
    this.#stopKeeping();
    this.#children.clear();
  }

  async close(): Promise<void> {
    this.#stopKeeping();
    const timer = setTimeout(() => {
      this.kill();
    }, closingTimeoutMs);
    await Promise.all([...this.#children.values()].map(({ ended }) => ended));
    clearTimeout(timer);
  }

  #kill(pid: number): void {
    const mark = this.#children.get(pid)?.mark;
    if (mark && isRunning(mark)) process.kill(pid, 'SIGKILL');
  }

  #stopKeeping(): void {
    this.#closing = true;
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #fill(run: Run): void {
    for (let index = 0; this.#places.size < this.#numWanted; index++) {
      if (this.#places.has(index)) continue;
      this.#places.add(index);
      void this.#keep(index, run);
    }
  }

  /**
   * Runs a worker in this place, and when it ends another, where there are not more places than wanted by then.
   *
   * @param found one that was started before this process was
   */
  async #keep(index: number, run: Run, found: Found | null = null): Promise<void> {
    const { coordinator, log } = run;
    const nth = found?.nth ?? (this.#numStarted[index] ?? 0) + 1;
    this.#numStarted[index] = nth;
    const workerId = workerName(index, nth);
    const started = found ? watchWorkerProcess(found.mark) : this.#spawn(index, workerId, run);
    const pid = started.mark?.pid ?? NaN;
    this.#children.set(pid, started);
    const silent = this.#later(this.#options.limits.connectTimeoutMs, () => {
      if (!coordinator.hasMember(workerId)) this.#onUnheard(workerId, pid, run);
    });
    const ending = await started.ended;
    clearTimeout(silent);
    this.#children.delete(pid);
    this.#endings.set(pid, ending);
    if (this.#closing) return;
    if (found) coordinator.reportLoss(workerId, ending.how);
    // What it says of itself would be said by any other: the job's fault, or this machine's.
    const isRefused = !coordinator.hasStarted && !ending.bySignal && !coordinator.hasMember(workerId);
    if (isRefused) this.#abandon(workerId, pid, ending.how, run);
    else if (this.#places.size > this.#numWanted) this.#places.delete(index);
    else if (!coordinator.isEnding) this.#replace(index, workerId, ending.how, run);
    else log.debug(`${workerId} has ended: ${ending.how}`);
  }

  #replace(index: number, before: string, how: string, run: Run): void {
    const delayMs = this.#replacements.next(performance.now());
    if (delayMs === null) {
      this.#giveUp(index, before, how, run);
      return;
    }
    this.#later(delayMs, () => {
      if (run.coordinator.isEnding) return;
      if (this.#places.size > this.#numWanted) {
        this.#places.delete(index);
        return;
      }
      run.log.info(`worker ${workerName(index, (this.#numStarted[index] ?? 0) + 1)} starts in the place of ${before}`);
      void this.#keep(index, run);
    });
  }

  #giveUp(index: number, workerId: string, how: string, { coordinator, log }: Run): void {
    const { maxReplacements } = this.#options;
    const why = maxReplacements === 0 ? '' : `, after ${maxReplacements} replacements within 10 minutes`;
    log.warn(`worker ${workerId} is not replaced${why}: ${how}`, { workerId });
    this.#places.delete(index);
    if (this.#places.size === 0) coordinator.expectNoMoreWorkers('all have ended, and none is replaced');
  }

  #onUnheard(workerId: string, pid: number, run: Run): void {
    if (run.coordinator.hasStarted) this.end(pid);
    else this.#abandon(workerId, pid, `it has said nothing for ${this.#options.limits.connectTimeoutMs} ms`, run);
  }

  #abandon(workerId: string, pid: number, how: string, { coordinator }: Run): void {
    const message = `Worker ${workerId} (pid ${Number.isNaN(pid) ? 'none' : pid}) has not joined: ${how}.`;
    coordinator.abandon(new LockstepError('ERR_WORKER_LOST', message));
  }

  #later(delayMs: number, action: () => void): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#closing) action();
    }, delayMs);
    this.#timers.add(timer);
    return timer;
  }

  /** A worker's warning is the person's to read, once if several say the same; its error comes with its end. */
  #say(worker: string, line: string, log: Log): void {
    const warning = /^warn: (.*)$/.exec(line)?.[1];
    if (warning === undefined) log.debug(`${worker}: ${line}`);
    else if (!this.#warnings.has(warning)) log.warn(warning, { workerId: worker });
    if (warning !== undefined) this.#warnings.add(warning);
  }

  #spawn(index: number, workerId: string, { coordinator, tokenFile, log, onLaunched }: Run): WorkerProcess {
    const { gpus, command, json, limits } = this.#options;
    const gpu = gpus[index % Math.max(1, gpus.length)];
    const flags = [
      ...(gpu === undefined ? [] : ['--device', 'gpu']),
      ...(json ? ['--json'] : []),
      ...limitFlags(limits),
    ];
    const url = formatEndpoint(coordinator.endpoint);
    const args = ['worker', '--join', url, '--token-file', tokenFile, '--id', workerId, ...flags];
    const started = startWorkerProcess({
      command,
      args,
      env: gpu === undefined ? {} : { CUDA_VISIBLE_DEVICES: gpu },
      onLine: (line) => {
        this.#say(workerId, line, log);
      },
    });
    const { mark } = started;
    if (mark) this.#launched = [...this.#launched, { workerId, process: mark }];
    onLaunched(this.#launched);
    return started;
  }
}

/** The last worker of each place. */
function placesOf(launched: readonly Launched[]): Map<number, Found> {
  const found = launched.flatMap(({ workerId, process: mark }): [number, Found][] => {
    const [, index, nth = '1'] = /^w(\d+)(?:\.(\d+))?$/.exec(workerId) ?? [];
    return index === undefined ? [] : [[Number(index), { nth: Number(nth), mark }]];
  });
  return new Map(found);
}

/** @param nth in its place, counted from 1 */
function workerName(index: number, nth: number): string {
  return nth === 1 ? `w${index}` : `w${index}.${nth}`;
}
