/** One simulated run: processes, what is between them, and what befalls them, event after event until it ends. */
import type { LockstepError } from '../../../src/errors.js';
import type { FromCoordinator, FromWorker, RunPlan } from '../../../src/protocol/messages.js';
import type { Patience } from '../../../coordinator/membership-state.js';
import { Clock } from './clock.js';
import { Command } from './command.js';
import { Disk } from './disk.js';
import { applyFault } from './faults.js';
import { Invariants } from './invariants.js';
import { Job } from './job.js';
import { Launcher } from './launcher.js';
import { Network, type Listening } from './network.js';
import type { Parts } from './parts.js';
import { realParts } from './parts.js';
import type { PeerMessage } from './peer-links.js';
import { Random } from './random.js';
import { RunFolder } from './run-folder.js';
import type { RunSetting, Schedule } from './schedule.js';
import { Violation } from './violation.js';

export type ControlMessage = FromWorker | FromCoordinator;

/** Shorter than the defaults, in the same proportions: virtual time costs events. */
const patience: Patience = {
  heartbeatTimeoutMs: 1_000,
  loadingTimeoutMs: 3_000,
  readyTimeoutMs: 30_000,
  stepTimeoutMs: 1_500,
  betweenStepsTimeoutMs: 3_000,
  connectTimeoutMs: 4_000,
  workersTimeoutMs: 60_000,
  returnTimeoutMs: 5_000,
};
const heartbeatMs = 250;
/** Longer than all faults together last, and shorter than a run waits for workers: one that nobody can find makes room for another. */
const coordinatorTimeoutMs = 40_000;
/** Once nothing befalls it any more, a run is to end within this. The longest wait is for all that hang together. */
const boundMs = 60 * patience.connectTimeoutMs + 60_000;

export interface RunOptions {
  readonly parts?: Parts;
  /** Told each thing that happens. @default nobody is told */
  readonly onTrace?: (line: string) => void;
}

export class World {
  readonly setting: RunSetting;
  readonly patience = patience;
  readonly clock = new Clock();
  readonly random: Random;
  readonly network: Network;
  readonly disk: Disk;
  readonly job: Job;
  readonly invariants: Invariants;
  readonly parts: Parts;
  readonly launcher: Launcher;
  readonly folder: RunFolder;
  readonly command: Command;
  readonly coordinatorTimeoutMs = coordinatorTimeoutMs;
  /** By worker. */
  readonly listeners = new Map<string, Listening<PeerMessage>>();
  /** But for its run and term. */
  readonly plan: RunPlan;
  /** Ctrl-C came. */
  isStopped = false;
  readonly #onTrace: ((line: string) => void) | undefined;
  #hasEnded = false;
  /** When the last fault is over. */
  #calmMs = 0;

  constructor({ setting }: Schedule, { parts = realParts, onTrace }: RunOptions) {
    const { seed, numWorkers, moreSlots, lines, steps, stepsPerEpoch, checkpointEverySteps } = setting;
    this.setting = { ...setting, minWorkers: Math.min(setting.minWorkers, numWorkers) };
    this.parts = parts;
    this.#onTrace = onTrace;
    this.random = new Random(seed);
    this.network = new Network(this.clock, this.random.next);
    this.disk = new Disk(this.clock, this.random, parts.verifiesCheckpoints);
    const elements = lines * 16;
    this.job = Job.of({ slots: numWorkers + moreSlots, elements, steps, stepsPerEpoch, checkpointEverySteps });
    this.invariants = new Invariants(this.job, setting);
    this.plan = planOf(this.job);
    this.folder = new RunFolder(this.random);
    this.command = new Command(this);
    this.launcher = new Launcher(this);
    this.command.start();
    this.launcher.start();
  }

  /** @throws Violation */
  run({ faults }: Schedule): void {
    let next = 0;
    let wait = faults[0]?.after ?? Infinity;
    while (!this.#hasEnded && this.clock.step()) {
      for (let fault = faults[next]; fault && wait-- <= 0; fault = faults[next]) {
        this.trace(() => `fault: ${JSON.stringify(fault.fault)}`);
        this.#calmMs = Math.max(this.#calmMs, this.clock.nowMs + applyFault(this, fault.fault));
        wait = faults[++next]?.after ?? Infinity;
      }
      if (this.clock.nowMs > this.#calmMs + boundMs) {
        throw new Violation(
          'progress',
          `${boundMs} ms after the last fault: ${this.command.coordinator.reason ?? 'it trains'}`,
        );
      }
    }
  }

  hostOf(place: number): string {
    return `host ${Math.floor((place - 1) / this.setting.workersPerHost)}`;
  }

  trace(line: () => string): void {
    this.#onTrace?.(`${this.clock.nowMs.toFixed(2).padStart(10)}  ${line()}`);
  }

  onWorkerEnd(workerId: string, why: string): void {
    if (!this.isStopped) this.invariants.onWorkerEnd(workerId, why);
  }

  onFinish(numSteps: number, weightsSha256: string): void {
    this.#hasEnded = true;
    this.trace(() => `the run has ended after ${numSteps} steps`);
    if (numSteps < this.job.shape.steps && !this.isStopped) {
      throw new Violation('progress', `the run ends after ${numSteps} of ${this.job.shape.steps} steps`);
    }
    this.invariants.onFinish(numSteps, weightsSha256);
  }

  onFail(error: LockstepError): void {
    this.#hasEnded = true;
    this.trace(() => `the run has failed: ${error.code} ${error.message}`);
    if (this.isStopped && error.code === 'ERR_INTERRUPTED') return;
    throw new Violation('the run goes on', `it failed with ${error.code}: ${error.message}`);
  }
}

function planOf({ shape }: Job): RunPlan {
  const fixed = {
    runId: 'run',
    term: 1,
    runDir: '',
    jobPath: '',
    overrides: [],
    threads: 1,
    runDirMark: null,
    resumeFrom: null,
    served: null,
  };
  return { ...fixed, slots: shape.slots, steps: shape.steps, heartbeatMs };
}

/** @throws Violation where something does not hold that must */
export function simulate(schedule: Schedule, options: RunOptions = {}): void {
  new World(schedule, options).run(schedule);
}
