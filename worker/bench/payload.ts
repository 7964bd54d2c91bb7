/**
 * What the ranks reduce: numbers that depend on rank, element and round, small and whole, so that their sums are exact in
 * float32 in any order, and a chunk that went astray is seen.
 */
import { LockstepError } from '../../src/errors.js';
import { planLayout, type Layout } from '../../src/state/layout.js';
import { PARAMETERS, type FlatMemory } from '../../src/state/memory.js';
import { slotRegion } from '../comm/regions.js';
import { maxSegmentElements, type ReservationOptions } from '../comm/reservation.js';

/** Payloads are cut in parameters of 16 MiB and segments of 256 MiB at most. */
const parameterElements = 2 ** 22;
const segmentElements = 2 ** 26;

/** The layout of `bytes` of gradients and nothing else. */
export function payloadLayout(bytes: number, options: ReservationOptions): Layout {
  const elements = bytes / Float32Array.BYTES_PER_ELEMENT;
  const parameters = Array.from({ length: Math.ceil(elements / parameterElements) }, (_, index) => ({
    name: `payload${index}`,
    shape: [Math.min(parameterElements, elements - index * parameterElements)],
    // Assigned by a step: every rank has the sum when it is committed.
    trainable: false,
  }));
  return planLayout(parameters, 0, { maxSegmentElements: Math.min(segmentElements, maxSegmentElements(options)) });
}

/** Writes this rank's part of a round. */
export function fillPayload(memory: FlatMemory, rank: number, round: number): void {
  for (const [segment] of memory.layout.segments.entries()) {
    const part = memory.view(slotRegion(rank), segment);
    for (let element = 0; element < part.length; element++) part[element] = valueOf(rank, element, segment + round);
  }
}

export function clearPayload(memory: FlatMemory, rank: number): void {
  for (const [segment] of memory.layout.segments.entries()) memory.view(slotRegion(rank), segment).fill(0);
}

/** @throws LockstepError ERR_INTERNAL where the reduced elements are not the sums over `numRanks` */
export function checkSums(memory: FlatMemory, numRanks: number, round: number): void {
  for (const [segment, { reducedElements }] of memory.layout.segments.entries()) {
    const sums = memory.view(PARAMETERS, segment);
    for (let element = 0; element < reducedElements; element++) {
      const expected = sumOf(numRanks, element, segment + round);
      if (sums[element] === expected) continue;
      const message = `Element ${element} of segment ${segment} was reduced to ${String(sums[element])}; the sum is ${expected}.`;
      throw new LockstepError('ERR_INTERNAL', message, { details: { segment, element, round } });
    }
  }
}

function sumOf(numRanks: number, element: number, round: number): number {
  let sum = 0;
  for (let rank = 0; rank < numRanks; rank++) sum += valueOf(rank, element, round);
  return sum;
}

/** The modulus is a prime, so that no bucket or chunk looks like another. */
function valueOf(rank: number, element: number, round: number): number {
  return (element * 7 + rank * 13 + round * 29) % 1021;
}
