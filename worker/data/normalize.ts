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

/** out = (x − mean[i]) · factor[i] for number i of a row; a single one holds for all. */
interface Scaling {
  readonly mean: Float64Array;
  readonly factor: Float64Array;
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

function given(mean: readonly number[], factor: readonly number[]): { scaling: Scaling; identity: unknown[] } {
  return { scaling: { mean: Float64Array.from(mean), factor: Float64Array.from(factor) }, identity: [mean, factor] };
}

/** Welford's running mean and squared deviation (Technometrics 4, 1962), in the data's own order: the same everywhere. */
async function fitted(dataset: Dataset, per: 'element' | 'all'): Promise<Scaling> {
  let mean = new Float64Array();
  let squares = new Float64Array();
  let seen = 0;
  for (const indices of blocksOf(dataset.length)) {
    const { data } = (await dataset.read(indices)).x;
    const width = per === 'all' ? 1 : data.length / indices.length;
    if (seen === 0) [mean, squares] = [new Float64Array(width), new Float64Array(width)];
    for (let i = 0; i < data.length; i += width) {
      seen++;
      for (let element = 0; element < width; element++) {
        const value = data[i + element] ?? 0;
        const before = mean[element] ?? 0;
        const after = before + (value - before) / seen;
        mean[element] = after;
        squares[element] = (squares[element] ?? 0) + (value - before) * (value - after);
      }
    }
  }
  return { mean, factor: squares.map((square) => (square > 0 ? 1 / Math.sqrt(square / seen) : 0)) };
}

function scale(batch: Batch, scaling: Scaling, rowName: (position: number) => string): Batch {
  const { data, shape } = batch.x;
  const width = data.length / (shape[0] ?? 1);
  const mean = perElement('mean', scaling.mean, width);
  const factor = perElement('std', scaling.factor, width);
  const scaled = new Float32Array(data.length);
  for (let i = 0; i < data.length; i += width) {
    for (let element = 0; element < width; element++) {
      scaled[i + element] = ((data[i + element] ?? 0) - (mean[element] ?? 0)) * (factor[element] ?? 0);
    }
  }
  const unusable = firstUnusable(scaled);
  if (unusable) {
    const place = `${rowName(Math.floor(unusable.position / width))}, column ${(unusable.position % width) + 1}`;
    const message = `${place}: normalize gave ${scaled[unusable.position] ?? 'nothing'}, expected ${unusable.expected}.`;
    throw new LockstepError('ERR_DATA_INVALID', message);
  }
  return { x: { data: scaled, shape }, y: batch.y };
}

/** One number for each number of a row; a single one holds for all. */
function perElement(what: string, numbers: Scaling['mean'], width: number): Scaling['mean'] {
  if (numbers.length === width) return numbers;
  if (numbers.length === 1) return new Float64Array(width).fill(numbers[0] ?? 0);
  const message = `normalize: found ${numbers.length} numbers in ${what}, expected 1, or ${width} as in a row of x.`;
  throw new LockstepError('ERR_DATA_INVALID', message);
}
