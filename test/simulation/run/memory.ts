/**
 * The memory of a worker, which outlives generations. Vectors carry which slots' partials of which step went into them: each
 * belongs into each sum once.
 */
import type { SlotRange } from '../../../src/collective/assignment.js';
import { noPartials, withPartial, type KeptPartials } from '../../../src/collective/kept-partials.js';
import type { TreeNode } from '../../../src/collective/tree.js';
import { firstState, type Job, type State } from './job.js';
import { Violation } from './violation.js';

/** Floats, and where they come from. All but a worker's own partials stay as they are. */
export interface Vector {
  readonly values: Float32Array;
  readonly step: number;
  /** A bit for each slot. */
  readonly slots: number;
}

export class Memory {
  readonly state: State;
  readonly #partials: Vector[] = [];
  #kept = noPartials;

  constructor(elements: number) {
    this.state = {
      parameters: firstState(elements).parameters.fill(NaN),
      moments: new Float32Array(elements).fill(NaN),
    };
  }

  /** Which partials are here. */
  get kept(): KeptPartials {
    return this.#kept;
  }

  partialOf(slot: number): Vector | undefined {
    return this.#partials[slot];
  }

  compute(job: Job, step: number, slot: number): void {
    const values = this.#partials[slot]?.values ?? new Float32Array(job.shape.elements);
    job.gradient(step, slot, this.state.parameters, values);
    this.#partials[slot] = { values, step, slots: 1 << slot };
    this.#kept = withPartial(this.#kept, step, slot);
  }

  /** The moments of others are theirs: what is left of them here is not to be used. */
  keepMoments(owned: readonly Elements[]): void {
    const kept = owned.map(
      ({ offset, elements }) => [offset, this.state.moments.slice(offset, offset + elements)] as const,
    );
    this.state.moments.fill(NaN);
    for (const [offset, values] of kept) this.state.moments.set(values, offset);
  }

  read({ parameters, moments }: State): void {
    this.state.parameters.set(parameters);
    this.state.moments.set(moments);
  }

  copy(): State {
    return { parameters: this.state.parameters.slice(), moments: this.state.moments.slice() };
  }
}

export interface Elements {
  readonly offset: number;
  readonly elements: number;
}

export function part({ values, step, slots }: Vector, { offset, elements }: Elements): Vector {
  return { values: values.slice(offset, offset + elements), step, slots };
}

/** The sum over a node, of what `at` has: of itself, or of its children. */
export function sumOf(node: TreeNode, at: (node: TreeNode) => Vector | undefined): Vector {
  const present = at(node);
  if (present) return present;
  if (!node.children)
    throw new Violation('each slot once', `the partial of slot ${node.firstSlot} is missing in a sum`);
  return add(sumOf(node.children[0], at), sumOf(node.children[1], at));
}

function add(left: Vector, right: Vector): Vector {
  if (left.step !== right.step || (left.slots & right.slots) !== 0) {
    const found = [left, right].map(({ step, slots }) => `slots ${slots.toString(2)} of step ${step}`);
    throw new Violation('each slot once', `added were ${found.join(' and ')}`);
  }
  const values = new Float32Array(left.values.length);
  for (let i = 0; i < values.length; i++) values[i] = (left.values[i] ?? NaN) + (right.values[i] ?? NaN);
  return { values, step: left.step, slots: left.slots | right.slots };
}

export function slotsOf({ firstSlot, endSlot }: SlotRange): number[] {
  return Array.from({ length: endSlot - firstSlot }, (_, i) => firstSlot + i);
}
