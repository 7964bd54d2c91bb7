/**
 * Flat state in shared memory. Each segment of the layout has one WebAssembly memory, and each region (the parameters, a
 * moment, a gradient, …) is one float32 array in each of them. Threads that attach see the same memory; who may write
 * what and when is for them to agree on.
 */
import { assert, LockstepError } from '../errors.js';
import { instantiateKernels, type Kernels } from '../kernels/kernels.js';
import { type Layout, type PlacedParameter } from './layout.js';

const PAGE_BYTES = 65_536;
const MAX_PAGES = 65_536;
const ELEMENT_BYTES = 4;

/** Every region begins on such a boundary, in bytes: the size of a page. */
export const REGION_ALIGNMENT = 4096;

/** The region that holds the parameters, by this name in every worker. */
export const PARAMETERS = 'parameters';

/** One named array in each segment's memory. */
export interface RegionPlan {
  readonly name: string;
  /** Its length in each segment, in elements. 0 where a segment has none of it. */
  readonly elements: readonly number[];
}

/** What another thread needs to attach. A structured clone shares the memory and copies the rest. */
export interface SharedFlatMemory {
  readonly layout: Layout;
  readonly regions: readonly RegionPlan[];
  readonly memories: readonly WebAssembly.Memory[];
}

/** Where a region lies in one segment's memory. */
interface Place {
  /** Bytes; a multiple of 4,096. */
  readonly address: number;
  readonly elements: number;
}

/** The memory of one worker's state, seen from one thread. */
export class FlatMemory {
  readonly layout: Layout;
  readonly #shared: SharedFlatMemory;
  /** By region name, then segment. */
  readonly #places: ReadonlyMap<string, readonly Place[]>;
  readonly #kernels: readonly Kernels[];

  private constructor(shared: SharedFlatMemory) {
    this.layout = shared.layout;
    this.#shared = shared;
    this.#places = placeRegions(shared.regions, shared.memories.length);
    this.#kernels = shared.memories.map(instantiateKernels);
  }

  /**
   * Allocates the regions, all zeros, in the order given; each begins on a page of 4 KiB.
   *
   * @throws LockstepError ERR_MEMORY if a segment's regions are over 4 GiB, or the machine does not have the memory
   */
  static create(layout: Layout, regions: readonly RegionPlan[]): FlatMemory {
    const numSegments = layout.segments.length;
    for (const { name, elements } of regions) {
      assert(elements.length === numSegments, `region ${name} has ${elements.length} of ${numSegments} lengths`);
    }
    const memories = layout.segments.map((_, segment) => allocate(regions, segment));
    return new FlatMemory({ layout, regions, memories });
  }

  /** The same memory in another thread. */
  static attach(shared: SharedFlatMemory): FlatMemory {
    return new FlatMemory(shared);
  }

  /** To post to another thread, which attaches it. */
  share(): SharedFlatMemory {
    return this.#shared;
  }

  /** The names of all regions. */
  get regions(): readonly string[] {
    return [...this.#places.keys()];
  }

  has(region: string): boolean {
    return this.#places.has(region);
  }

  /** Byte address of a region's first element, for the kernels of that segment. */
  address(region: string, segment: number): number {
    return this.#place(region, segment).address;
  }

  /** A region in one segment, as an array over the shared memory. */
  view(region: string, segment: number): Float32Array<SharedArrayBuffer> {
    const { address, elements } = this.#place(region, segment);
    return new Float32Array(this.#memory(segment).buffer, address, elements);
  }

  /** The elements that belong to `parameter` in a region. */
  parameterView(region: string, parameter: PlacedParameter): Float32Array<SharedArrayBuffer> {
    const { address, elements } = this.#place(region, parameter.segment);
    assert(parameter.offset + parameter.size <= elements, `region ${region} has no ${parameter.name}`);
    const from = address + parameter.offset * ELEMENT_BYTES;
    return new Float32Array(this.#memory(parameter.segment).buffer, from, parameter.size);
  }

  /** Any bytes of one segment's memory, as frames carry them. @default all of them */
  bytes(segment: number, address = 0, numBytes?: number): Uint8Array<SharedArrayBuffer> {
    return new Uint8Array(this.#memory(segment).buffer, address, numBytes);
  }

  /** The kernels over one segment's memory. */
  kernels(segment: number): Kernels {
    const kernels = this.#kernels[segment];
    assert(kernels, `there is no segment ${segment}`);
    return kernels;
  }

  #memory(segment: number): WebAssembly.Memory {
    const memory = this.#shared.memories[segment];
    assert(memory, `there is no segment ${segment}`);
    return memory;
  }

  #place(region: string, segment: number): Place {
    const place = this.#places.get(region)?.[segment];
    assert(place, `there is no region ${region} in segment ${segment}`);
    return place;
  }
}

/** The bytes of a region: whole pages, so that other processes can map one region and not the next. */
function wholePages(elements: number): number {
  return Math.ceil((elements * ELEMENT_BYTES) / REGION_ALIGNMENT) * REGION_ALIGNMENT;
}

/** Regions follow one another in every segment; both sides of `share` work the places out alike. */
function placeRegions(regions: readonly RegionPlan[], numSegments: number): Map<string, readonly Place[]> {
  const places = new Map<string, Place[]>();
  const used = new Array<number>(numSegments).fill(0);
  for (const { name, elements } of regions) {
    assert(!places.has(name), `two regions are named ${name}`);
    places.set(
      name,
      elements.map((count, segment) => {
        const address = used[segment] ?? 0;
        used[segment] = address + wholePages(count);
        return { address, elements: count };
      }),
    );
  }
  return places;
}

/** One segment's memory, of just the pages that its regions need. */
function allocate(regions: readonly RegionPlan[], segment: number): WebAssembly.Memory {
  const parts = regions.map(({ name, elements }) => ({ name, bytes: wholePages(elements[segment] ?? 0) }));
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
  const arithmetic = `${parts.map((part) => `${part.name} ${part.bytes}`).join(' + ')} = ${bytes} bytes`;
  const pages = Math.max(1, Math.ceil(bytes / PAGE_BYTES));
  const details = { segment, bytes, regions: parts };
  if (pages > MAX_PAGES) {
    const limit = MAX_PAGES * PAGE_BYTES;
    const message = `Segment ${segment} needs ${arithmetic}, and one WebAssembly memory holds ${limit}. Use smaller segments.`;
    throw new LockstepError('ERR_MEMORY', message, { details });
  }
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  } catch (cause) {
    const message = `No memory for segment ${segment}: ${arithmetic}. Use a smaller model, fewer slots per worker, or a machine with more memory.`;
    throw new LockstepError('ERR_MEMORY', message, { cause, details });
  }
}
