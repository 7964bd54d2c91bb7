/**
 * Which slots' partials lie in a worker's memory, and of which step. They outlive a generation: in the next one only slots
 * that are new to the worker are computed. A partial depends on the weights of its step alone, so it is as good there.
 */
import type { SlotRange } from './assignment.js';

export interface KeptPartials {
  readonly step: number;
  readonly slots: ReadonlySet<number>;
}

export const noPartials: KeptPartials = { step: -1, slots: new Set() };

/** The slots of `range` whose partials of `step` are not there, in order. */
export function slotsToCompute(kept: KeptPartials, step: number, { firstSlot, endSlot }: SlotRange): number[] {
  const slots = Array.from({ length: endSlot - firstSlot }, (_, i) => firstSlot + i);
  return kept.step === step ? slots.filter((slot) => !kept.slots.has(slot)) : slots;
}

/** With the partial of one more slot; those of any other step are gone. */
export function withPartial(kept: KeptPartials, step: number, slot: number): KeptPartials {
  return { step, slots: new Set([...(kept.step === step ? kept.slots : []), slot]) };
}
