/**
 * Which tensors a checkpoint of this memory has, in the order of the file: for the writer and the reader alike. Moments that
 * are shared out among workers are gathered piece by piece when they are written, and each worker keeps its own when they
 * are read: in the file nothing shows of it.
 */
import type { Bucket } from '../../src/collective/buckets.js';
import type { OwnedRange } from '../../src/collective/shard.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import { momentRegions, sharedRegions, type MomentRegion } from '../../src/optimizer/optimizer.js';
import { momentName } from '../../src/state/checkpoint.js';
import { bytesOf } from '../../src/state/digest.js';
import type { PlacedParameter } from '../../src/state/layout.js';
import { type FlatMemory, PARAMETERS } from '../../src/state/memory.js';
import { GATHERED } from '../comm/regions.js';

const floatBytes = Float32Array.BYTES_PER_ELEMENT;

/** A tensor of the state. */
export interface StateTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Its bytes, in order. A piece is good until the next one is asked for. */
  readonly pieces: () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
  /** Takes its bytes from `at` on; both are multiples of 4. */
  readonly fill: (at: number, piece: Uint8Array) => void;
}

/** How moments are shared out. */
export interface Sharding {
  /** What this worker holds. */
  readonly ranges: readonly OwnedRange[];
  readonly buckets: readonly Bucket[];
  /** Rank 0: resolves when the region `gathered` holds a moment of a bucket. One at a time. */
  readonly gather: (region: MomentRegion, bucket: number) => Promise<void>;
}

/** The parameters by their own names: trainable ones, then state. */
export function parameterTensors(memory: FlatMemory): StateTensor[] {
  return memory.layout.parameters.map((parameter) => ({
    name: parameter.name,
    shape: parameter.shape,
    ...inMemory(memory, PARAMETERS, parameter),
  }));
}

/** The moments of the trainable parameters, one moment after the other. */
export function momentTensors(
  memory: FlatMemory,
  optimizer: OptimizerConfig,
  sharding: Sharding | null,
): StateTensor[] {
  const trainable = memory.layout.parameters.filter((parameter) => parameter.trainable);
  const gathered = sharding && new GatheredMoments(memory, sharding);
  const shared = new Set(sharedRegions(optimizer));
  return momentRegions(optimizer).flatMap((region) =>
    trainable.map((parameter) => ({
      name: momentName(region, parameter.name),
      shape: parameter.shape,
      ...(gathered && shared.has(region) ? gathered.tensor(region, parameter) : inMemory(memory, region, parameter)),
    })),
  );
}

type Content = Pick<StateTensor, 'pieces' | 'fill'>;

function inMemory(memory: FlatMemory, region: string, parameter: PlacedParameter): Content {
  const bytes = bytesOf(memory.parameterView(region, parameter));
  return {
    pieces: () => [bytes],
    fill: (at, piece) => {
      bytes.set(piece, at);
    },
  };
}

class GatheredMoments {
  readonly #memory: FlatMemory;
  readonly #sharding: Sharding;
  /** What lies in the region `gathered`. */
  #current = '';

  constructor(memory: FlatMemory, sharding: Sharding) {
    this.#memory = memory;
    this.#sharding = sharding;
  }

  tensor(region: MomentRegion, parameter: PlacedParameter): Content {
    return {
      pieces: () => this.#pieces(region, parameter),
      fill: (at, piece) => {
        this.#keepOwn(region, parameter, { at, piece });
      },
    };
  }

  async *#pieces(region: MomentRegion, { segment, offset, size }: PlacedParameter): AsyncGenerator<Uint8Array> {
    for (const bucket of this.#sharding.buckets) {
      const from = Math.max(offset, bucket.offset);
      const end = Math.min(offset + size, bucket.offset + bucket.elements);
      if (bucket.segment !== segment || from >= end) continue;
      await this.#gather(region, bucket.index);
      yield bytesOf(this.#memory.view(GATHERED, segment).subarray(from - bucket.offset, end - bucket.offset));
    }
  }

  /** Small parameters share a bucket. */
  async #gather(region: MomentRegion, bucket: number): Promise<void> {
    const wanted = `${region} of bucket ${bucket}`;
    if (this.#current === wanted) return;
    this.#current = '';
    await this.#sharding.gather(region, bucket);
    this.#current = wanted;
  }

  #keepOwn(
    region: MomentRegion,
    { segment, offset }: PlacedParameter,
    { at, piece }: { readonly at: number; readonly piece: Uint8Array },
  ): void {
    const start = offset + at / floatBytes;
    const bytes = bytesOf(this.#memory.view(region, segment));
    for (const range of this.#sharding.ranges) {
      const from = Math.max(start, range.offset);
      const end = Math.min(start + piece.length / floatBytes, range.offset + range.elements);
      if (range.segment !== segment || from >= end) continue;
      const own = piece.subarray((from - start) * floatBytes, (end - start) * floatBytes);
      bytes.set(own, (range.at + from - range.offset) * floatBytes);
    }
  }
}
