/**
 * Shares the pages of a worker's flat memory with other processes of its host, and puts theirs in the place of its own
 * (see native/shared-pages.cc). Between such workers a frame says that bytes are there, and carries none of them.
 */
import { close, openSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { assert } from '../../src/errors.js';
import type { Kernels } from '../../src/kernels/kernels.js';
import type { SharedMemory } from '../../src/protocol/peer-messages.js';
import type { FlatMemory } from '../../src/state/memory.js';

/** Every region of a flat memory begins on a page. */
export const pageBytes = 4096;

interface Addon {
  useLargePages(bytes: Uint8Array): void;
  share(bytes: Uint8Array, from: number): number;
  mount(bytes: Uint8Array, file: number, offset: number): void;
  restore(bytes: Uint8Array, file: number, offset: number): void;
  close(file: number): void;
  wake(words: Int32Array, index: number): void;
  awaitWord(words: Int32Array, index: number, atLeast: number, timeoutMs: number): boolean;
  /** With four addresses, the number of elements, and the coefficients. */
  adam(bytes: Uint8Array, ...rest: (number | Float32Array)[]): void;
  keepMemory(): boolean;
}

/** Bytes of one segment of a flat memory, from the start of a region. */
export interface PageRange {
  readonly segment: number;
  readonly region: string;
  /** A multiple of 4,096. */
  readonly offset: number;
  /** Rounded up to whole pages. */
  readonly bytes: number;
}

/** A peer's memory, open in this process. */
export interface PeerMemory extends Pick<SharedMemory, 'regions'> {
  /** By segment. */
  readonly files: readonly number[];
}

export class SharedPages {
  readonly #addon: Addon;

  private constructor(addon: Addon) {
    this.#addon = addon;
  }

  /** @throws Error where the addon was not built for this machine */
  static load(path: string): SharedPages {
    return new SharedPages(createRequire(import.meta.url)(path) as Addon);
  }

  /**
   * Asks for pages of 2 MiB for what lies before region `end` in a memory that nobody has written to yet: large products and Adam go
   * through it from end to end, and find each page once.
   */
  useLargePages(memory: FlatMemory, end: string): void {
    for (const segment of memory.layout.segments.keys()) {
      const numBytes = memory.address(end, segment);
      if (numBytes > 0) this.#addon.useLargePages(memory.bytes(segment, 0, numBytes));
    }
  }

  /** Makes a memory that nobody has written to yet one that others can mount, from region `first` on. What is before nobody else sees. */
  share(memory: FlatMemory, first: string): SharedMemory {
    const segments = memory.layout.segments.map((_, segment) => segment);
    const files = segments.map((segment) => {
      const file = this.#addon.share(memory.bytes(segment), memory.address(first, segment));
      return { file, inode: inodeOf(pathOf(process.pid, file)) };
    });
    const names = memory.regions.slice(memory.regions.indexOf(first));
    const regions = names.map((name) => [name, segments.map((one) => memory.address(name, one))] as const);
    return { pid: process.pid, files, regions: Object.fromEntries(regions) };
  }

  /**
   * When this process is killed, others are to see it at once, and not when the kernel has freed its memory
   * (native/memory-keeper.cc). Whether it will be so.
   */
  keepMemory(): boolean {
    return this.#addon.keepMemory();
  }

  /** Wakes all that wait for a word, in whichever process. */
  wake(words: Int32Array<SharedArrayBuffer>, index: number): void {
    this.#addon.wake(words, index);
  }

  /** Blocks until a word, which a peer writes, is `atLeast` so large, or for `timeoutMs`. Whether it is. */
  awaitWord(words: Int32Array<SharedArrayBuffer>, index: number, atLeast: number, timeoutMs: number): boolean {
    return this.#addon.awaitWord(words, index, atLeast, timeoutMs);
  }

  /** `kernels` over `bytes`, one segment's memory, with Adam in the processor's own instructions (native/adam.cc): the same bits. */
  accelerate(kernels: Kernels, bytes: Uint8Array): Kernels {
    return {
      ...kernels,
      adam: (at, n, by) => {
        const coefficients = [by.beta1, by.share1, by.beta2, by.share2, by.stepSize, by.unbias2, by.epsilon, by.decay];
        const addresses = [at.parameters, at.gradient, at.moment1, at.moment2];
        this.#addon.adam(bytes, ...addresses, n, Float32Array.from(coefficients));
      },
    };
  }

  close({ files }: SharedMemory): void {
    for (const { file } of files) this.#addon.close(file);
  }

  /** Whether this process can see a peer's files: it may run as somebody else, or in another container. */
  sees({ pid, files }: SharedMemory): boolean {
    try {
      return files.every(({ file, inode }) => inodeOf(pathOf(pid, file)) === inode);
    } catch {
      return false;
    }
  }

  /** For as long as this is open, what was a peer's memory is there, whether the peer lives or not. */
  open({ pid, files, regions }: SharedMemory): PeerMemory {
    return { files: files.map(({ file }) => openSync(pathOf(pid, file), 'r')), regions };
  }

  /**
   * What is mounted stays. In a thread of its own: of a peer that has died this may be the last that keeps its memory, which takes the
   * kernel a while to free.
   */
  release({ files }: PeerMemory): void {
    for (const file of files) close(file, () => undefined);
  }

  /** From now on the pages at `target` are those that `peer` has at `source`. They are for reading only. */
  mount(memory: FlatMemory, target: PageRange, peer: PeerMemory, source: Pick<PageRange, 'region' | 'offset'>): void {
    const { bytes } = pagesAt(memory, target);
    const file = peer.files[target.segment];
    const from = peer.regions[source.region]?.[target.segment];
    assert(file !== undefined && from !== undefined, `a peer has no region ${source.region}`);
    this.#addon.mount(bytes, file, from + source.offset);
  }

  /** The pages at `target` are again those of this memory, `own` as it was shared. */
  restore(memory: FlatMemory, target: PageRange, own: SharedMemory): void {
    const { address, bytes } = pagesAt(memory, target);
    const file = own.files[target.segment]?.file;
    assert(file !== undefined, `segment ${target.segment} is not shared`);
    this.#addon.restore(bytes, file, address);
  }
}

function pagesAt(
  memory: FlatMemory,
  { segment, region, offset, bytes }: PageRange,
): { address: number; bytes: Uint8Array } {
  const address = memory.address(region, segment) + offset;
  return { address, bytes: memory.bytes(segment, address, Math.ceil(bytes / pageBytes) * pageBytes) };
}

function pathOf(pid: number, file: number): string {
  return `/proc/${pid}/fd/${file}`;
}

/** As text: it may be above 2^53. */
function inodeOf(path: string): string {
  const { dev, ino } = statSync(path, { bigint: true });
  return `${dev}:${ino}`;
}
