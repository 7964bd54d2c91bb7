/**
 * How the optimizer treats parameters that are not all alike: with another learning rate, or without weight decay. Which
 * parameters these are the job says by patterns of their names; here they become ranges of the flat state.
 */
import { assert } from '../errors.js';
import type { Layout } from '../state/layout.js';
import { matchesAny, matchesPattern, requireMatches } from '../state/name-pattern.js';
import type { OptimizerConfig } from './config.js';

export interface Treatment {
  /** What the learning rate is multiplied by. */
  readonly rateFactor: number;
  /** Whether weight decay applies. */
  readonly decays: boolean;
}

/** What all parameters get, unless the job says otherwise. */
export const plainTreatment: Treatment = { rateFactor: 1, decays: true };

/** Elements of one segment that are treated alike, with the gaps between their parameters. */
export interface TreatedRange extends Treatment {
  readonly offset: number;
  readonly end: number;
}

/** By segment: its trainable elements, all of them, in order, in as few ranges as can be. */
export function planTreatments(layout: Layout, optimizer: OptimizerConfig): readonly (readonly TreatedRange[])[] {
  return layout.segments.map(({ trainableElements }, segment) => {
    const ranges: TreatedRange[] = [];
    for (const { name, offset } of layout.parameters.filter((one) => one.trainable && one.segment === segment)) {
      const treatment = treatmentOf(name, optimizer);
      const last = ranges.at(-1);
      if (last && isSame(last, treatment)) continue;
      if (last) ranges[ranges.length - 1] = { ...last, end: offset };
      ranges.push({ ...treatment, offset, end: trainableElements });
    }
    return ranges;
  });
}

/**
 * The parts of `range` that are treated alike, in order. Asked for each block of each step, and a model with rates by layer has
 * hundreds of ranges: the first is searched for, and those behind the last are not looked at.
 */
export function* treatedParts(
  ranges: readonly TreatedRange[],
  range: { readonly offset: number; readonly elements: number },
): Generator<TreatedRange> {
  const rangeEnd = range.offset + range.elements;
  let covered = range.offset;
  for (let index = firstEndingBehind(ranges, covered); covered < rangeEnd; index++) {
    const one = ranges[index];
    assert(one && one.offset <= covered, `elements ${covered} to ${rangeEnd} of a segment are not trainable`);
    const [offset, end] = [covered, Math.min(one.end, rangeEnd)];
    covered = end;
    yield { ...one, offset, end };
  }
}

/** By halving: ranges are in order. */
function firstEndingBehind(ranges: readonly TreatedRange[], offset: number): number {
  let [first, end] = [0, ranges.length];
  while (first < end) {
    const middle = (first + end) >>> 1;
    if ((ranges[middle]?.end ?? Infinity) > offset) end = middle;
    else first = middle + 1;
  }
  return first;
}

/** @throws LockstepError ERR_JOB_INVALID where a pattern of the optimizer matches no trainable parameter */
export function requireTreated(optimizer: OptimizerConfig, trainable: readonly string[]): void {
  requireMatches('optimizer.rateFactors', Object.keys(optimizer.rateFactors ?? {}), trainable);
  if (optimizer.name === 'adamw') requireMatches('optimizer.noDecay', optimizer.noDecay ?? [], trainable);
}

function treatmentOf(name: string, optimizer: OptimizerConfig): Treatment {
  const factors = Object.entries(optimizer.rateFactors ?? {});
  const rateFactor = factors.find(([pattern]) => matchesPattern(pattern, name))?.[1] ?? 1;
  const decays = optimizer.name !== 'adamw' || !matchesAny(optimizer.noDecay ?? [], name);
  return { rateFactor, decays };
}

function isSame(one: Treatment, other: Treatment): boolean {
  return one.rateFactor === other.rateFactor && one.decays === other.decays;
}
