/** What a simulated run is, and what befalls it, as plain data that fast-check makes and shrinks. */
import fc from 'fast-check';
import type { DiskFate } from './run-folder.js';

export interface RunSetting {
  /** Of all that takes its time: latencies, gradients, disks. */
  readonly seed: number;
  readonly numWorkers: number;
  readonly minWorkers: number;
  readonly moreSlots: number;
  readonly steps: number;
  readonly stepsPerEpoch: number;
  readonly checkpointEverySteps: number;
  /** In lines of 16 floats, which is the least of a bucket. */
  readonly lines: number;
  readonly bucketBytes: number;
  /** -1: each chunk has an owner. */
  readonly hopBytes: number;
  readonly workersPerHost: number;
  /** Workers are children of the coordinator's command; else something outside of the run starts them. */
  readonly isTrain: boolean;
  /** Each worker holds a share of the moments that nobody else has. */
  readonly isSharded: boolean;
}

/** Places are numbered from 0, the coordinator's; those of workers begin with 1. */
export type FaultKind =
  | { readonly type: 'crash'; readonly places: readonly number[] }
  /** Its host is gone: no connection closes. */
  | { readonly type: 'vanish'; readonly place: number }
  /** Its compute thread, while its comm thread beats. */
  | { readonly type: 'hang'; readonly place: number; readonly ms: number }
  /** SIGSTOP, and SIGCONT after a while. */
  | { readonly type: 'stop-process'; readonly place: number; readonly ms: number }
  | {
      readonly type: 'partition';
      readonly from: number;
      readonly to: number;
      readonly bothWays: boolean;
      readonly ms: number;
    }
  | {
      readonly type: 'delay';
      readonly from: number;
      readonly to: number;
      readonly delayMs: number;
      readonly ms: number;
    }
  | { readonly type: 'leave'; readonly place: number }
  /** A worker that nobody asked for, with the name of the one in `place`, or its own. */
  | { readonly type: 'join'; readonly place: number; readonly isDuplicate: boolean }
  | { readonly type: 'slow-disk'; readonly slownessMs: number }
  | { readonly type: 'torn-write'; readonly count: number }
  /** Ctrl-C. */
  | { readonly type: 'stop-run' }
  /** The coordinator dies, after so many more things that it does, and is started again. */
  | {
      readonly type: 'crash-coordinator';
      readonly numActs: number;
      readonly awayMs: number;
      readonly fate: DiskFate;
    }
  /** It is stopped for so long, and another one started beside it. */
  | { readonly type: 'replace-coordinator'; readonly ms: number; readonly fate: DiskFate };

export interface Fault {
  /** Events of the simulation after the fault before. */
  readonly after: number;
  readonly fault: FaultKind;
}

export interface Schedule {
  readonly setting: RunSetting;
  readonly faults: readonly Fault[];
}

const maxWorkers = 4;
const place = fc.integer({ min: 1, max: maxWorkers });
const anyPlace = fc.integer({ min: 0, max: maxWorkers });
const ms = fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 50, max: 3_000 }));

const setting = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  numWorkers: fc.integer({ min: 1, max: maxWorkers }),
  minWorkers: fc.integer({ min: 1, max: 2 }),
  moreSlots: fc.integer({ min: 0, max: 2 }),
  steps: fc.integer({ min: 2, max: 7 }),
  stepsPerEpoch: fc.integer({ min: 2, max: 4 }),
  checkpointEverySteps: fc.integer({ min: 0, max: 2 }),
  lines: fc.integer({ min: 1, max: 3 }),
  bucketBytes: fc.constantFrom(64, 128, 4096),
  hopBytes: fc.constantFrom(2 ** 30, -1),
  workersPerHost: fc.integer({ min: 1, max: 2 }),
  isTrain: fc.boolean(),
  isSharded: fc.constant(false),
});
const sharded = setting.map((drawn) => ({ ...drawn, isSharded: true }));

const kinds = {
  crash: fc.record({ type: fc.constant('crash' as const), places: fc.array(place, { minLength: 1, maxLength: 3 }) }),
  vanish: fc.record({ type: fc.constant('vanish' as const), place }),
  hang: fc.record({ type: fc.constant('hang' as const), place, ms }),
  'stop-process': fc.record({ type: fc.constant('stop-process' as const), place: anyPlace, ms }),
  partition: fc.record({
    type: fc.constant('partition' as const),
    from: anyPlace,
    to: anyPlace,
    bothWays: fc.boolean(),
    ms,
  }),
  delay: fc.record({
    type: fc.constant('delay' as const),
    from: anyPlace,
    to: anyPlace,
    delayMs: fc.integer({ min: 1, max: 300 }),
    ms,
  }),
  leave: fc.record({ type: fc.constant('leave' as const), place }),
  join: fc.record({ type: fc.constant('join' as const), place, isDuplicate: fc.boolean() }),
  'slow-disk': fc.record({ type: fc.constant('slow-disk' as const), slownessMs: fc.integer({ min: 1, max: 500 }) }),
  'torn-write': fc.record({ type: fc.constant('torn-write' as const), count: fc.integer({ min: 1, max: 3 }) }),
  'stop-run': fc.record({ type: fc.constant('stop-run' as const) }),
  'crash-coordinator': fc.record({
    type: fc.constant('crash-coordinator' as const),
    numActs: fc.oneof(fc.constant(0), fc.nat(12)),
    awayMs: ms,
    fate: fc.constantFrom<DiskFate[]>('kept', 'kept', 'power-cut', 'lost'),
  }),
  'replace-coordinator': fc.record({
    type: fc.constant('replace-coordinator' as const),
    ms: fc.integer({ min: 1_000, max: 4_000 }),
    fate: fc.constantFrom<DiskFate[]>('kept', 'lost'),
  }),
} satisfies Record<FaultKind['type'], fc.Arbitrary<FaultKind>>;

/** Often soon after one another, so that a fault meets the recovery from the one before. */
const after = fc.oneof(fc.nat(12), fc.nat(60), fc.nat(250));

const returns = ['crash-coordinator', 'crash-coordinator', 'replace-coordinator'] as const;

/** Faults that go together, by name. */
export const families = {
  everything: Object.keys(kinds) as FaultKind['type'][], // the keys are the types
  crashes: ['crash', 'vanish', 'leave'],
  silences: ['vanish', 'hang', 'stop-process', 'partition', 'delay'],
  'comings and goings': ['join', 'leave', 'stop-run', 'crash'],
  disks: ['slow-disk', 'torn-write', 'crash'],
  /** Of runs whose optimizer is sharded. */
  sharded: [...(Object.keys(kinds) as FaultKind['type'][]), 'crash', 'leave', 'join', 'torn-write'],
  returns: [
    ...returns,
    ...returns,
    ...returns,
    'crash',
    'vanish',
    'hang',
    'stop-process',
    'partition',
    'join',
    'leave',
  ],
} as const satisfies Record<string, readonly FaultKind['type'][]>;

export type Family = keyof typeof families;

const maxFaults = 6;

/** Runs, and what befalls them. */
export function schedules(family: Family): fc.Arbitrary<Schedule> {
  const fault = fc.record({ after, fault: fc.oneof(...families[family].map((type) => kinds[type])) });
  return fc.record({
    setting: family === 'sharded' ? sharded : setting,
    faults: fc.array(fault, { maxLength: maxFaults }),
  });
}
