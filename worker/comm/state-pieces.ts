/**
 * The state of a worker cut in pieces, as it travels to one that lacks it: the parameters of each segment, frozen ones too,
 * then its moments. All workers of a run cut alike. Its digest is the list of the pieces' checksums.
 */
import { checksumOf } from '../../src/kernels/kernels.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import { momentRegions } from '../../src/optimizer/optimizer.js';
import { type FlatMemory, PARAMETERS } from '../../src/state/memory.js';
import { blockElements, CHECKSUMS, SCRATCH } from './regions.js';

const floatBytes = Float32Array.BYTES_PER_ELEMENT;

/** 4 MiB: a frame carries no more. */
const pieceElements = 2 ** 20;

export interface Piece {
  readonly segment: number;
  /** In bytes, in its segment's memory. */
  readonly address: number;
  readonly numBytes: number;
}

export function cutState(memory: FlatMemory, optimizer: OptimizerConfig): Piece[] {
  return memory.layout.segments.flatMap(({ elements, trainableElements }, segment) =>
    [
      [PARAMETERS, elements] as const,
      ...momentRegions(optimizer).map((name) => [name, trainableElements] as const),
    ].flatMap(([region, length]) =>
      Array.from({ length: Math.ceil(length / pieceElements) }, (_, index) => ({
        segment,
        address: memory.address(region, segment) + index * pieceElements * floatBytes,
        numBytes: Math.min(pieceElements, length - index * pieceElements) * floatBytes,
      })),
    ),
  );
}

/** Of bytes in the memory; between steps only, since it shares the memory's scratch with the sums. */
export function checksumOfPiece(memory: FlatMemory, { segment, address, numBytes }: Piece): number {
  return checksumOf(memory.kernels(segment), memory.address(CHECKSUMS, segment), address, numBytes);
}

/** Of bytes beside the memory; likewise. */
export function checksumOfBytes(memory: FlatMemory, bytes: Uint8Array): number {
  const kernels = memory.kernels(0);
  const [state, scratch] = [memory.address(CHECKSUMS, 0), memory.address(SCRATCH, 0)];
  const blockBytes = blockElements * floatBytes;
  const block = memory.bytes(0, scratch, blockBytes);
  kernels.checksumBegin(state);
  let at = 0;
  for (; at + blockBytes <= bytes.length; at += blockBytes) {
    block.set(bytes.subarray(at, at + blockBytes));
    kernels.checksumUpdate(state, scratch, blockBytes);
  }
  const rest = bytes.subarray(at);
  const inUnits = rest.length - (rest.length % checksumUnitBytes);
  block.set(rest);
  if (inUnits > 0) kernels.checksumUpdate(state, scratch, inUnits);
  return kernels.checksumEnd(state, scratch + inUnits, bytes.length);
}

/** What `checksumUpdate` takes a multiple of. */
const checksumUnitBytes = 128;
