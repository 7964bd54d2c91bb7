/** Simulates many schedules, and where one does not hold tells the least one that does not, and how to see it again. */
import fc from 'fast-check';
import { type Parts, realParts } from './parts.js';
import { schedules, type Family, type Schedule } from './schedule.js';
import { Violation } from './violation.js';
import { simulate } from './world.js';

/** In one test. */
export const perTest = 1_000;
/** Far more than they take, on a machine that does other work. */
export const timeoutMs = 180_000;

/** One test for each. */
export function seeds(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

export interface CheckOptions {
  readonly family: Family;
  readonly seed: number;
  readonly numRuns: number;
  /** Of a schedule that failed with this seed: it alone is run. */
  readonly path?: string | undefined;
  /** @default the real ones */
  readonly parts?: Parts;
  /** Shrinks what fails. @default true */
  readonly shrinks?: boolean;
}

export interface Failure {
  readonly schedule: Schedule;
  readonly error: unknown;
  /** The command that shows it. */
  readonly command: string;
}

/** Null where all hold. */
export function check({
  family,
  seed,
  numRuns,
  path,
  parts = realParts,
  shrinks = true,
}: CheckOptions): Failure | null {
  const property = fc.property(schedules(family), (schedule) => {
    simulate(schedule, { parts });
  });
  const details = fc.check(property, { seed, numRuns, endOnFailure: !shrinks, ...(path !== undefined && { path }) });
  const [schedule] = details.counterexample ?? [];
  if (!schedule) return null;
  const at = `--seed ${details.seed} --path ${details.counterexamplePath ?? ''}`;
  return { schedule, error: details.errorInstance, command: `npm run simulate -- --family '${family}' ${at}` };
}

/** All that happens in it, a line each. */
export function traceOf({ schedule, error }: Pick<Failure, 'schedule' | 'error'>, parts = realParts): string[] {
  const lines: string[] = [];
  try {
    simulate(schedule, { parts, onTrace: (line) => lines.push(line) });
  } catch (thrown) {
    if (!(thrown instanceof Violation) && String(thrown) !== String(error)) throw thrown;
  }
  return [...lines, String(error)];
}

/** @throws Error with the schedule and the command to see it again */
export function expectAllHold(options: CheckOptions): void {
  const failure = check(options);
  if (!failure) return;
  const text = [JSON.stringify(failure.schedule), ...traceOf(failure), failure.command];
  throw new Error(text.join('\n'), { cause: failure.error });
}
