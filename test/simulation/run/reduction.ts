/** Carries out what the all-reduce machine decides, on small arrays: what worker/comm/reduction.ts does on shared memory. */
import { hasRoomForEarly, type AllReduce } from '../../../src/collective/all-reduce.js';
import type { AllReduceEffect, AllReduceEvent, Place } from '../../../src/collective/events.js';
import type { AllReducePlan } from '../../../src/collective/plan.js';
import type { TreeNode } from '../../../src/collective/tree.js';
import { applySum } from './job.js';
import { part, sumOf, type Memory, type Vector } from './memory.js';
import type { Bulk } from './network.js';
import { Violation } from './violation.js';

export interface StepFrame {
  readonly type: 'partial' | 'result';
  readonly step: number;
  readonly bucket: number;
  readonly chunk: number;
  /** 0 for a result. */
  readonly node: number;
  readonly vector: Vector;
}

export interface ReductionOptions {
  readonly plan: AllReducePlan;
  readonly machine: AllReduce;
  readonly memory: Memory;
  readonly send: (to: number, bulk: Bulk<StepFrame>) => void;
  readonly onCommit: (step: number) => void;
}

export class Reduction {
  readonly #options: ReductionOptions;
  readonly #inbox = new Map<number, Vector>();
  /** Sums of several ranks' partials, for the next rank. */
  readonly #combined = new Map<number, Vector>();
  readonly #results = new Map<number, Vector>();

  constructor(options: ReductionOptions) {
    this.#options = options;
  }

  get step(): number {
    return this.#options.machine.step;
  }

  onReady(step: number, bucket: number): void {
    this.#take({ type: 'ready', step, bucket });
  }

  onFrame(from: number, frame: StepFrame): void {
    const { plan, machine } = this.#options;
    const { type, step, node } = frame;
    if (step === this.step + 1) this.#take({ type: 'ahead', from });
    const event = { type, from, step, bucket: frame.bucket, chunk: frame.chunk, node };
    machine.check(event);
    const bucket = plan.buckets[frame.bucket];
    const chunk = bucket?.chunks[frame.chunk];
    if (!bucket || !chunk) throw new Error('The machine refuses what there is not.');
    const place = { bucket, chunk };
    if (type === 'partial') this.#inbox.set(this.#inboxOf(place, node, step), frame.vector);
    else this.#results.set(keyOf(place, 0), frame.vector);
    this.#take(event);
  }

  #take(event: AllReduceEvent): void {
    const { step } = this;
    for (const effect of this.#options.machine.take(event)) this.#perform(effect, step);
  }

  #perform(effect: AllReduceEffect, step: number): void {
    switch (effect.type) {
      case 'send-partial': {
        const { node, chunk } = effect;
        const combined = chunk.route.isRelay ? this.#combined.get(keyOf(effect, node.id)) : undefined;
        const make = (): Vector => combined ?? this.#sum(effect, node, null);
        for (const to of effect.to) this.#send(to, effect, { type: 'partial', step, node: node.id, make });
        break;
      }
      case 'combine':
        for (const node of effect.chunk.route.nodes) {
          this.#combined.set(keyOf(effect, node.id), this.#sum(effect, node, step));
        }
        break;
      case 'sum': {
        const sum = this.#sum(effect, this.#options.plan.tree, step);
        this.#results.set(keyOf(effect, 0), this.#options.plan.isSharded ? this.#advance(effect, sum) : sum);
        break;
      }
      case 'send-result': {
        const make = (): Vector => this.#resultOf(effect, step);
        for (const to of effect.to) this.#send(to, effect, { type: 'result', step, node: 0, make });
        break;
      }
      case 'complete':
      case 'send-squares': // nothing here asks for the norm of a sharded run's gradient
      case 'norm':
      case 'advance':
        break;
      case 'commit':
        this.#commit(effect.step);
    }
  }

  #commit(step: number): void {
    const { plan, memory, onCommit } = this.#options;
    const all = 2 ** plan.tree.endSlot - 1;
    for (const bucket of plan.buckets) {
      for (const chunk of bucket.chunks) {
        const { values, slots, step: of } = this.#resultOf({ bucket, chunk }, step);
        if (slots !== all || of !== step) {
          const found = `step ${step} was committed with slots ${slots.toString(2)} of step ${of}`;
          throw new Violation('each slot once', found);
        }
        if (plan.isSharded) memory.state.parameters.set(values, chunk.offset);
        else applySum(memory.state, values, chunk.offset);
      }
    }
    onCommit(step);
  }

  /** New weights of a chunk that this rank owns. Its moments go on at once; the parameters stay as they are until the commit. */
  #advance({ chunk }: Place, sum: Vector): Vector {
    const { parameters, moments } = this.#options.memory.state;
    const next = { parameters: parameters.slice(), moments };
    applySum(next, sum.values, chunk.offset);
    return part({ ...sum, values: next.parameters }, chunk);
  }

  #resultOf(place: Place, step: number): Vector {
    if (place.chunk.owner === null) return this.#sum(place, this.#options.plan.tree, step);
    const result = this.#results.get(keyOf(place, 0));
    if (!result) throw new Error('A chunk that is done has a result.');
    return result;
  }

  /** Of what came, where `step` is given, and of this rank's own slots as they are now. */
  #sum(place: Place, node: TreeNode, step: number | null): Vector {
    const { plan, memory } = this.#options;
    return sumOf(node, ({ id, firstSlot, children }) => {
      const arrived = step === null ? undefined : this.#inbox.get(this.#inboxOf(place, id, step));
      const isTaken = place.chunk.route.partialsFrom.has(id);
      if (isTaken && arrived) return arrived;
      const own = !children && plan.slots.includes(firstSlot) ? memory.partialOf(firstSlot) : undefined;
      return own && part(own, place.chunk);
    });
  }

  #inboxOf(place: Place, node: number, step: number): number {
    const parity = hasRoomForEarly(this.#options.plan, place.chunk) ? step % 2 : 0;
    return 2 * keyOf(place, node) + parity;
  }

  #send(
    to: number,
    { bucket, chunk }: Place,
    what: Pick<StepFrame, 'type' | 'step' | 'node'> & { readonly make: () => Vector },
  ): void {
    const { make, ...rest } = what;
    const head = { ...rest, bucket: bucket.index, chunk: chunk.index };
    this.#options.send(to, {
      make: () => ({ ...head, vector: make() }),
      onSent: () => {
        this.#take({ type: 'sent', to, step: what.step });
      },
    });
  }
}

const maxNodes = 64;
const maxChunks = 16;

function keyOf({ bucket, chunk }: Place, node: number): number {
  return (bucket.index * maxChunks + chunk.index) * maxNodes + node;
}
