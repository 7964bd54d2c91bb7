/**
 * Random tensors of a training pass, made by TensorFlow's stateless ops: dropout, noise and whatever else calls
 * `tf.randomUniform`, `tf.randomNormal`, `tf.truncatedNormal` or `tf.dropout` without a seed of its own. Each has a seed
 * that is a function of (seed, step, slot) and of its place in the pass, given as a tensor, so that a compiled step can
 * take it as an input. On backends without these ops the host's seeded stream goes on as it is.
 */
import { createRequire } from 'node:module';
import type { DataType, NumericDataType, Rank, ShapeMap, Tensor } from '@tensorflow/tfjs';
import { assert } from '../../src/errors.js';
import type { Tfjs } from './engine/tfjs.js';
import { nodeBackend, type NodeBackend } from './node-backend.js';
import { statelessSeed, type RandomKey } from './random.js';

type RandomFunctions = Pick<Tfjs, 'dropout' | 'randomNormal' | 'randomUniform' | 'truncatedNormal'>;
type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };
type Distribution = 'StatelessRandomUniform' | 'StatelessRandomNormal' | 'StatelessTruncatedNormal';
type Draw = (distribution: Distribution, shape: readonly number[]) => Tensor;

/** The random ops of the pass that runs. */
interface Draws {
  /** The next one's place in the pass. */
  next: number;
  /** What becomes of a seed before it is used. */
  late: (seed: Tensor) => Tensor;
}

let running: Draws | null = null;

/** How many random ops of the running pass there have been. */
export function numDrawn(): number {
  return running?.next ?? 0;
}

export interface DrawOptions {
  /** The place of the first random op: one that there has been gives its numbers again. */
  readonly first: number;
  /** Holds seeds back. */
  readonly late: (seed: Tensor) => Tensor;
}

/** Runs a part of the pass that draws from another place on. The pass goes on behind what has been drawn at most. */
export function withDraws<T>({ first, late }: DrawOptions, body: () => T): T {
  if (running === null) return body();
  const outer = running;
  const draws = { next: first, late };
  running = draws;
  try {
    return body();
  } finally {
    running = outer;
    outer.next = Math.max(outer.next, draws.next);
  }
}

/** Runs `body`, the pass of `key`, with tfjs's random functions replaced; restored when it returns or throws. */
export function withStatelessRandom<T>(
  tf: Tfjs,
  key: RandomKey,
  onSeed: ((seed: Tensor, index: number) => void) | undefined,
  body: () => T,
): T {
  const backend = nodeBackend(tf);
  if (backend === undefined || key.purpose !== 'step') return body();
  running = { next: 0, late: (seed) => seed };
  const draw: Draw = (distribution, shape) =>
    tf.tidy(() => {
      const draws = running;
      assert(draws, 'A random op ran after its pass');
      const index = draws.next++;
      const seed = tf.tensor1d(statelessSeed(key, index), 'int32');
      onSeed?.(seed, index);
      return runStateless(tf, backend, { distribution, shape, seed: draws.late(seed) });
    });
  // The functions that both tfjs-layers and `tf` look up at each call.
  const core = requireCore();
  const own: RandomFunctions = {
    dropout: core.dropout,
    randomNormal: core.randomNormal,
    randomUniform: core.randomUniform,
    truncatedNormal: core.truncatedNormal,
  };
  Object.assign(core, replacements(tf, own, draw));
  try {
    return body();
  } finally {
    running = null;
    Object.assign(core, own);
  }
}

let core: Mutable<RandomFunctions> | undefined;

/** tfjs's own copy of tfjs-core, as the CommonJS object whose members its other packages call. */
function requireCore(): Mutable<RandomFunctions> {
  const { resolve } = createRequire(import.meta.url);
  // `require` returns any; this package's functions are the ones that `tf` re-exports.
  core ??= createRequire(resolve('@tensorflow/tfjs'))('@tensorflow/tfjs-core') as Mutable<RandomFunctions>;
  return core;
}

interface StatelessOp {
  readonly distribution: Distribution;
  readonly shape: readonly number[];
  readonly seed: Tensor;
}

function runStateless(tf: Tfjs, backend: NodeBackend, { distribution, shape, seed }: StatelessOp): Tensor {
  const { TF_ATTR_TYPE: type, TF_FLOAT, TF_INT32 } = backend.binding;
  const attributes = [
    { name: 'dtype', type, value: TF_FLOAT },
    { name: 'T', type, value: TF_INT32 },
    { name: 'Tseed', type, value: TF_INT32 },
  ];
  return backend.executeSingleOutput(distribution, attributes, [tf.tensor1d([...shape], 'int32'), seed]);
}

function replacements(tf: Tfjs, own: RandomFunctions, draw: Draw): RandomFunctions {
  const randomUniform = <R extends Rank>(
    shape: ShapeMap[R],
    minimum = 0,
    maximum = 1,
    dtype: DataType = 'float32',
    seed?: number | string,
  ): Tensor<R> => {
    if (seed || dtype !== 'float32') return own.randomUniform(shape, minimum, maximum, dtype, seed);
    return tf.tidy(() => scaled(tf, draw('StatelessRandomUniform', shape), maximum - minimum, minimum));
  };
  const normal =
    (distribution: Distribution, ownFunction: RandomFunctions['randomNormal']) =>
    <R extends Rank>(
      shape: ShapeMap[R],
      mean = 0,
      deviation = 1,
      dtype?: NumericDataType & ('float32' | 'int32'),
      seed?: number,
    ): Tensor<R> => {
      if (seed || (dtype ?? 'float32') !== 'float32') return ownFunction(shape, mean, deviation, dtype, seed);
      return tf.tidy(() => scaled(tf, draw(distribution, shape), deviation, mean));
    };
  return {
    randomUniform,
    randomNormal: normal('StatelessRandomNormal', own.randomNormal),
    truncatedNormal: normal('StatelessTruncatedNormal', own.truncatedNormal),
    dropout: (x, rate, noiseShape, seed) => {
      const draws = x instanceof tf.Tensor && x.dtype === 'float32' && rate > 0 && rate < 1 && !seed;
      if (!draws) return own.dropout(x, rate, noiseShape, seed);
      return tf.tidy(() => {
        const kept = tf.floor(tf.add(draw('StatelessRandomUniform', maskShape(x.shape, noiseShape)), 1 - rate));
        return tf.mul(x, tf.div(kept, 1 - rate));
      });
    },
  };
}

/** As in tfjs: the input's extent where the given shape has none. */
function maskShape(shape: readonly number[], given: readonly (number | null)[] | undefined): readonly number[] {
  return (given ?? shape).map((extent, axis) => extent ?? shape[axis] ?? 1);
}

function scaled<R extends Rank>(tf: Tfjs, values: Tensor, factor: number, offset: number): Tensor<R> {
  const stretched = factor === 1 ? values : tf.mul(values, factor);
  return (offset === 0 ? stretched : tf.add(stretched, offset)) as Tensor<R>; // Of the shape that was asked for.
}
