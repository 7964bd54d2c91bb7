/**
 * What waking a thread and moving a byte cost on a real machine: the two that make the simulation of 2 workers fit what 2
 * workers measured. With them the simulation says what more workers on the same machine take, which is then held against
 * what those measured. What a frame costs is measured by itself: two workers never send so many that it shows.
 */
import { z } from 'zod';
import { assert, LockstepError } from '../../src/errors.js';
import { Collective } from './collective.js';
import type { Network, ThreadCosts } from './network.js';
import { simulate } from './simulation.js';

/** A line of `lockstep bench allreduce --json`. */
const measurementSchema = z.object({
  workers: z.number().int().min(2),
  bytes: z.number().int().positive(),
  microseconds: z.number().positive(),
});

export type Measurement = z.output<typeof measurementSchema>;

export interface Comparison extends Measurement {
  readonly simulatedMicroseconds: number;
  /** Simulated over measured, less 1. */
  readonly error: number;
}

export interface Calibration {
  readonly costs: ThreadCosts;
  /** The lines that the costs were fitted to, then those that they predict. */
  readonly fitted: readonly Comparison[];
  readonly predicted: readonly Comparison[];
}

/** The number of workers whose lines are fitted. */
const fittedWorkers = 2;

/**
 * Reads what `lockstep bench allreduce --json` wrote, for one or more numbers of workers.
 *
 * @throws LockstepError ERR_USAGE for a line that is none of it
 */
export function readMeasurements(text: string): Measurement[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const measurements = lines.map((line, index) => {
    try {
      return measurementSchema.parse(JSON.parse(line));
    } catch (cause) {
      const expected = 'a line of `lockstep bench allreduce --json`';
      throw new LockstepError('ERR_USAGE', `Line ${index + 1} is no measurement: "${line}"; expected ${expected}.`, {
        cause,
      });
    }
  });
  if (measurements.some(({ workers }) => workers === fittedWorkers)) return measurements;
  throw new LockstepError('ERR_USAGE', `No line has ${fittedWorkers} workers: these are what the costs are fitted to.`);
}

/**
 * Fits `wakeSeconds` and `byteSeconds`, and predicts the rest. All workers are taken to be on one host.
 *
 * @param network of the machine that measured; its costs are where the fit begins
 * @param coresPerHost cores of that machine
 */
export function calibrate(network: Network, bucketBytes: number, measurements: readonly Measurement[]): Calibration {
  const small = measurements.filter(({ workers }) => workers === fittedWorkers);
  // The benchmark runs no optimizer.
  const start: ThreadCosts = { ...network.costs, applyByteSeconds: 0 };
  const compare = (costs: ThreadCosts, of: readonly Measurement[]): Comparison[] =>
    of.map((one) => comparison({ ...network, costs }, bucketBytes, one));
  const costs = fit(start, (tried) => compare(tried, small).map(({ error }) => Math.log1p(error)));
  const others = measurements.filter(({ workers }) => workers !== fittedWorkers);
  return {
    costs: { ...costs, applyByteSeconds: network.costs.applyByteSeconds },
    fitted: compare(costs, small),
    predicted: compare(costs, others),
  };
}

function comparison(network: Network, bucketBytes: number, measurement: Measurement): Comparison {
  const { workers, bytes, microseconds } = measurement;
  const host = { ...network, workersPerHost: workers };
  const collective = new Collective({
    levels: 'two-level',
    numWorkers: workers,
    workersPerHost: workers,
    numBytes: bytes,
    bucketBytes,
  });
  const simulatedMicroseconds = simulate({ collective, network: host }).stepSeconds * 1e6;
  return { ...measurement, simulatedMicroseconds, error: simulatedMicroseconds / microseconds - 1 };
}

const maxRounds = 60;
const smallestStep = 1e-6;

/**
 * Least squares of the errors over the logarithms of the two costs: Gauss and Newton's method, damped as Levenberg has it.
 */
function fit(start: ThreadCosts, errorsOf: (costs: ThreadCosts) => number[]): ThreadCosts {
  const at = (wake: number, byte: number): ThreadCosts => ({
    ...start,
    wakeSeconds: Math.exp(wake),
    byteSeconds: Math.exp(byte),
  });
  let wake = Math.log(start.wakeSeconds);
  let byte = Math.log(start.byteSeconds);
  let errors = errorsOf(at(wake, byte));
  let damping = 1e-3;
  for (let round = 0; round < maxRounds; round++) {
    const byWake = slope(errors, errorsOf(at(wake + slopeWidth, byte)));
    const byByte = slope(errors, errorsOf(at(wake, byte + slopeWidth)));
    const [wakeStep, byteStep] = solve(byWake, byByte, errors, damping);
    const tried = errorsOf(at(wake + wakeStep, byte + byteStep));
    if (dot(tried, tried) > dot(errors, errors)) {
      damping *= 10;
      continue;
    }
    wake += wakeStep;
    byte += byteStep;
    errors = tried;
    damping /= 10;
    if (Math.abs(wakeStep) + Math.abs(byteStep) < smallestStep) break;
  }
  return at(wake, byte);
}

const slopeWidth = 1e-3;

function slope(before: readonly number[], after: readonly number[]): number[] {
  return after.map((value, i) => (value - (before[i] ?? 0)) / slopeWidth);
}

/** The step of two unknowns that lowers the errors most. */
function solve(
  a: readonly number[],
  b: readonly number[],
  errors: readonly number[],
  damping: number,
): [number, number] {
  const [aa, ab, bb] = [dot(a, a) + damping, dot(a, b), dot(b, b) + damping];
  const [ae, be] = [dot(a, errors), dot(b, errors)];
  const determinant = aa * bb - ab * ab;
  assert(determinant > 0, 'damping keeps the equations apart');
  return [(ab * be - bb * ae) / determinant, (ab * ae - aa * be) / determinant];
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);
}
