/**
 * The compiled training step: the eager step's interface and bits, with each slot's gradient in one call of TensorFlow.
 * Shapes are part of a graph, so there is one for each batch shape; a shape that cannot be compiled runs eagerly, and the
 * log says why once.
 */
import type { Batch, Column } from '../../../src/job/dataset.js';
import type { Log } from '../../../src/log.js';
import { toLockstepError } from '../../../src/errors.js';
import { checkBatch, checkLabels, checkTokens, formatShape } from '../batch.js';
import { asItIs, type Contribution } from '../contribution.js';
import type { NativeAddon } from '../engine/native-addon.js';
import type { Tfjs } from '../engine/tfjs.js';
import type { PassObserver } from '../pass.js';
import type { RandomKey } from '../random.js';
import type { Measurements, SlotOutputs, SlotStep, StepKey } from '../step.js';
import { compile } from './compile.js';
import { CompiledForward } from './compiled-forward.js';
import type { StepGraph } from './step-graph.js';
import { feedOf } from './step-values.js';

/** Batches of a run have two shapes, or four where the last batch of an epoch is kept. Older ones are let go. */
const maxGraphs = 8;

export interface CompiledStepOptions {
  readonly tf: Tfjs;
  /** Taken over: it is disposed with the result. */
  readonly step: SlotStep;
  readonly log: Log;
  /** Lockstep's addon, to run the graphs with. @default tfjs-node's */
  readonly addon?: NativeAddon | null | undefined;
}

export class CompiledStep implements SlotStep {
  readonly #tf: Tfjs;
  readonly #eager: SlotStep;
  readonly #log: Log;
  readonly #addon: NativeAddon | null;
  /** By batch shape, in the order in which they were made; `null` for a shape that runs eagerly. */
  readonly #graphs = new Map<string, StepGraph | null>();
  /** The same of forward passes, by the shape of the inputs. */
  readonly #forwards = new Map<string, CompiledForward | null>();
  readonly #askedOnce = new Set<string>();
  readonly #reasons = new Set<string>();

  constructor({ tf, step, log, addon = null }: CompiledStepOptions) {
    this.#tf = tf;
    this.#eager = step;
    this.#log = log;
    this.#addon = addon;
  }

  /** Compiles for batches of this one's shape. Whether that went well. */
  prepare(batch: Batch, key: StepKey): boolean {
    checkBatch(batch);
    return this.#graphFor(batch, key) !== null;
  }

  gradient(batch: Batch, key: StepKey, outputs: SlotOutputs, contribution: Contribution = asItIs): Measurements {
    checkBatch(batch);
    checkTokens(batch, this.numTokens);
    if (this.numClasses !== undefined) checkLabels(batch, this.numClasses);
    const graph = this.#graphFor(batch, key);
    if (graph === null) return this.#eager.gradient(batch, key, outputs, contribution);
    try {
      return graph.run(feedOf(this.#eager, batch, key), outputs, contribution);
    } catch (error) {
      // The eager step says in its own words what is wrong with the batch, or has the result.
      const result = this.#eager.gradient(batch, key, outputs, contribution);
      // Some of the outputs may hold this pass already, and now hold it twice.
      if (contribution.accumulate) throw error;
      this.#explain(`TensorFlow failed to run its graph: ${toLockstepError(error).message}`);
      return result;
    }
  }

  get parameters(): SlotStep['parameters'] {
    return this.#eager.parameters;
  }

  get metricNames(): readonly string[] {
    return this.#eager.metricNames;
  }

  get numClasses(): number | undefined {
    return this.#eager.numClasses;
  }

  get numTokens(): number | undefined {
    return this.#eager.numTokens;
  }

  get weights(): readonly Float32Array[] {
    return this.#eager.weights;
  }

  get numTensors(): number {
    return this.#eager.numTensors;
  }

  initialValues(): readonly Float32Array[] {
    return this.#eager.initialValues();
  }

  bindWeights(views: readonly Float32Array[]): void {
    this.#eager.bindWeights(views);
  }

  evaluate(batch: Batch): Measurements {
    return this.#eager.evaluate(batch);
  }

  predicting<T>(key: RandomKey, body: (predict: (x: Column) => Column) => T): T {
    return this.#eager.predicting(key, (eager) => body((x) => this.#forwardFor(x, eager)?.run(x) ?? eager(x)));
  }

  traceForward<T>(x: Column, observer: PassObserver<T>): T {
    return this.#eager.traceForward(x, observer);
  }

  trace<T>(batch: Batch, key: StepKey, observer: PassObserver<T>): T {
    return this.#eager.trace(batch, key, observer);
  }

  dispose(): void {
    for (const graph of [...this.#graphs.values(), ...this.#forwards.values()]) graph?.dispose();
    this.#graphs.clear();
    this.#forwards.clear();
    this.#eager.dispose();
  }

  #graphFor(batch: Batch, key: StepKey): StepGraph | null {
    const shape = shapeKey(batch);
    const known = this.#graphs.get(shape);
    if (known !== undefined) return known;
    const compilation = compile({ tf: this.#tf, step: this.#eager, batch, key, addon: this.#addon });
    if ('reason' in compilation) this.#explain(compilation.reason);
    const graph = 'graph' in compilation ? compilation.graph : null;
    this.#letGo();
    this.#graphs.set(shape, graph);
    return graph;
  }

  /** Makes room for one more graph: the one that was made first goes. */
  #letGo(): void {
    const [oldest] = this.#graphs;
    if (this.#graphs.size < maxGraphs || oldest === undefined) return;
    const [shape, graph] = oldest;
    graph?.dispose();
    this.#graphs.delete(shape);
  }

  #forwardFor(x: Column, eager: (x: Column) => Column): CompiledForward | null {
    const shape = shapeOf(x);
    const known = this.#forwards.get(shape);
    if (known !== undefined || this.#addon === null) return known ?? null;
    // Making a graph takes several passes without one, and shapes may be many, of which none comes again.
    if (!this.#askedOnce.delete(shape) || this.#forwards.size >= maxGraphs) {
      this.#askedOnce.add(shape);
      return null;
    }
    const compiled = CompiledForward.compile({ tf: this.#tf, step: this.#eager, addon: this.#addon, eager }, x);
    const forward = 'reason' in compiled ? null : compiled;
    if ('reason' in compiled) this.#explain(compiled.reason, 'forward pass');
    this.#forwards.set(shape, forward);
    return forward;
  }

  #explain(reason: string, what = 'training step'): void {
    if (this.#reasons.has(reason)) return;
    this.#reasons.add(reason);
    this.#log.warn(`The ${what} is not compiled, and runs op by op: ${reason}.`, { reason });
  }
}

/** "Float32Array[32, 784] Int32Array[32]": what a graph is made for. */
function shapeKey({ x, y }: Batch): string {
  return [x, y].map(shapeOf).join(' ');
}

function shapeOf({ data, shape }: Column): string {
  return `${data.constructor.name}${formatShape(shape)}`;
}
