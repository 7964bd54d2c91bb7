/** Inputs brought to a common scale, by given numbers or by the mean and deviation of the data. */
import { LockstepError } from '../../src/errors.js';
import { openData, type Batch, type Dataset, type DataSource, type OpenContext } from '../../src/job/dataset.js';
import { changeRows } from './changed-rows.js';
import { firstUnusable } from './element.js';
import { fingerprintOf } from './fingerprint.js';
import { defaultMemoryLimitBytes } from './row-store.js';
import { blocksOf } from './rows.js';

interface NormalizeLimits {
  /** A larger result is made row by row as it is read. @default 256 MiB */
  readonly memoryLimitBytes?: number;
}

/** x · scale */
export interface ScaleOptions extends NormalizeLimits {
  readonly scale: number;
}

/** (x − mean) / std, each one number, or one for each number of a row. */
export interface StandardOptions extends NormalizeLimits {
  readonly mean: number | readonly number[];
  readonly std: number | readonly number[];
}

/** (x − mean) / std with what the data has, found in one pass in float64; numbers that never vary become 0. */
export interface FitOptions extends NormalizeLimits {
  /** The data whose mean and deviation are used. @default the data itself */
  readonly fit?: DataSource | Dataset;
  /** One mean and deviation for each number of a row, or one for all of them, as for images. @default 'element' */
  readonly per?: 'element' | 'all';
}

export type NormalizeOptions = ScaleOptions | StandardOptions | FitOptions;

/** out = (x − mean[i]) · factor[i], where arrays of one number hold for every i. */
interface Scaling {
  readonly mean: readonly number[];
  readonly factor: readonly number[];
}

/** Owns `parent` from now on. */
export async function normalizeRows(
  parent: Dataset,
  options: NormalizeOptions,
  context: OpenContext,
): Promise<Dataset> {
  const { memoryLimitBytes = defaultMemoryLimitBytes } = options;
  const { scaling, identity } = await scalingOf(parent, options, context);
  const apply = (batch: Batch, rowName: (position: number) => string) => scale(batch, scaling, rowName);
  return changeRows(parent, { apply, identity: ['normalize', ...identity], memoryLimitBytes });
}

async function scalingOf(
  parent: Dataset,
  options: NormalizeOptions,
  context: OpenContext,
): Promise<{ scaling: Scaling; identity: unknown[] }> {
  if ('scale' in options) return given([0], [options.scale]);
  if ('mean' in options)
    return given(
      [options.mean].flat(),
      [options.std].flat().map((std) => 1 / std),
    );
  const { fit, per = 'element' } = options;
  if (fit === undefined) return { scaling: await fitted(parent, per), identity: ['fit', per] };
  const fitData = await openData(fit, context);
  try {
    return { scaling: await fitted(fitData, per), identity: ['fit', per, await fingerprintOf(fitData)] };
  } finally {
    if (fitData !== fit) await fitData.close?.();
  }
}

function given(mean: number[], factor: number[]): { scaling: Scaling; identity: unknown[] } {
  const scaling = { mean, factor };
  return { scaling, identity: [scaling] };
}

/** Welford's running mean and squared deviation (Technometrics 4, 1962), in the data's own order: the same everywhere. */
async function fitted(dataset: Dataset, per: 'element' | 'all'): Promise<Scaling> {
  const mean: number[] = [];
  const squares: number[] = [];
  let seen = 0;
  for (const indices of blocksOf(dataset.length)) {
    const { x } = await dataset.read(indices);
    const width = per === 'all' ? 1 : x.data.length / indices.length;
    for (let i = 0; i < x.data.length; i++) {
      const element = i % width;
      if (element === 0) seen++;
      const value = x.data[i] ?? 0;
      const before = mean[element] ?? 0;
      const after = before + (value - before) / seen;
      mean[element] = after;
      squares[element] = (squares[element] ?? 0) + (value - before) * (value - after);
    }
  }
  return { mean, factor: squares.map((square) => (square > 0 ? 1 / Math.sqrt(square / seen) : 0)) };
}

function scale(batch: Batch, { mean, factor }: Scaling, rowName: (position: number) => string): Batch {
  const { data, shape } = batch.x;
  const width = data.length / (shape[0] ?? 1);
  checkLength('mean', mean, width);
  checkLength('std', factor, width);
  const scaled = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const element = i % width;
    scaled[i] = ((data[i] ?? 0) - at(mean, element)) * at(factor, element);
  }
  const unusable = firstUnusable(scaled);
  if (unusable) {
    const place = `${rowName(Math.floor(unusable.position / width))}, column ${(unusable.position % width) + 1}`;
    const message = `${place}: normalize gave ${scaled[unusable.position] ?? 'nothing'}, expected ${unusable.expected}.`;
    throw new LockstepError('ERR_DATA_INVALID', message);
  }
  return { x: { data: scaled, shape }, y: batch.y };
}

function at(numbers: readonly number[], element: number): number {
  return numbers[numbers.length === 1 ? 0 : element] ?? 0;
}

function checkLength(what: string, numbers: readonly number[], width: number): void {
  if (numbers.length === 1 || numbers.length === width) return;
  const message = `normalize: found ${numbers.length} numbers in ${what}, expected 1, or ${width} as in a row of x.`;
  throw new LockstepError('ERR_DATA_INVALID', message);
}
