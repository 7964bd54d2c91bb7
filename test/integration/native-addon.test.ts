/** Lockstep's own addon: what it stores, whom it tells and whom it wakes. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { planBuckets, type Bucket } from '../../src/collective/buckets.js';
import type { FunctionalModel, Model } from '../../src/job/job.js';
import { planLayout } from '../../src/state/layout.js';
import { FlatMemory } from '../../src/state/memory.js';
import { CompiledStep } from '../../worker/compute/compiled/compiled-step.js';
import { contribute } from '../../worker/compute/contribution.js';
import { findCurrent } from '../../worker/compute/engine/cache.js';
import { loadEngine, type Engine } from '../../worker/compute/engine/load.js';
import type { NativeAddon } from '../../worker/compute/engine/native-addon.js';
import { makeStepWords, StepWords } from '../../worker/comm/step-words.js';
import { Readiness } from '../../worker/readiness.js';
import { TrainingStep } from '../../worker/compute/step.js';
import { classBatch, firstKey, given, silentLog, spread, tf } from '../unit/compute/toy.js';

const timeoutMs = 20_000;

/** A network with a parameter that the loss does not depend on, state, and a kernel of several buckets. */
const model = () =>
  tf.sequential({
    layers: [
      tf.layers.dense({ inputShape: [6], units: 700, activation: 'relu' }),
      tf.layers.batchNormalization(),
      tf.layers.dropout({ rate: 0.5 }),
      tf.layers.dense({ units: 700, activation: 'tanh' }),
      tf.layers.dense({ units: 3, activation: 'softmax' }),
    ],
  });

const functionalWithUnused = (): FunctionalModel => ({
  parameters: { used: tf.tensor2d(spread(18), [6, 3]), unused: tf.zeros([40]) },
  forward: ({ used }, x) => tf.softmax(tf.matMul(x, given(used))),
});

describe.skipIf(!findCurrent().found)("Lockstep's addon", () => {
  let engine: Engine;
  let addon: NativeAddon;

  beforeAll(async () => {
    engine = await loadEngine({ threads: 1, device: 'cpu', log: silentLog });
    addon = given(engine.native).addon;
  });

  /** A step of each kind, with one flat memory for what they write. */
  async function steps(make: () => Model) {
    const job = { model: make, loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] };
    const eager = await TrainingStep.build({ tf, job, seed: 7, log: silentLog, sample: classBatch() });
    const native = new CompiledStep({ tf, step: eager, log: silentLog, addon });
    expect(native.prepare(classBatch(), firstKey)).toBe(true);
    const layout = planLayout(eager.parameters, 2);
    const elements = layout.segments.map((segment) => segment.elements);
    const memory = FlatMemory.create(
      layout,
      ['native', 'eager'].map((name) => ({ name, elements })),
    );
    const outputs = (region: string) => {
      const views = (trainable: boolean) =>
        layout.parameters.filter((one) => one.trainable === trainable).map((one) => memory.parameterView(region, one));
      return { gradients: views(true), state: views(false) };
    };
    return { eager, native, layout, memory, outputs };
  }

  test.each([
    ['as it is', { weight: 1, accumulate: false }],
    ['weighed', { weight: 3 / 7, accumulate: false }],
    ['added', { weight: 1, accumulate: true }],
    ['weighed and added', { weight: 3 / 7, accumulate: true }],
    // Products below 2^-126, which a thread of TensorFlow's pools would flush to zero.
    ['weighed with next to nothing', { weight: 1e-38, accumulate: false }],
  ])('stores a gradient %s, with the bits of two rounded operations', async (_, contribution) => {
    const { eager, native, memory, outputs } = await steps(model);
    const before = spread(memory.view('native', 0).length, 5);
    for (const region of ['native', 'eager']) memory.view(region, 0).set(before);
    const expected = eager.gradient(classBatch(), firstKey, outputs('eager'), contribution);
    expect(native.gradient(classBatch(), firstKey, outputs('native'), contribution)).toEqual(expected);
    expect(sameBytes(memory.view('native', 0), memory.view('eager', 0))).toBe(true);
    native.dispose();
  });

  test('fills with zeros what the loss does not depend on', async () => {
    const { native, memory, outputs, layout } = await steps(functionalWithUnused);
    memory.view('native', 0).fill(NaN);
    native.gradient(classBatch(), firstKey, outputs('native'));
    const unused = given(layout.parameters.find(({ name }) => name === 'unused'));
    expect([...memory.parameterView('native', unused)]).toEqual(new Array(40).fill(0));
    memory.parameterView('native', unused).fill(5);
    native.gradient(classBatch(), firstKey, outputs('native'), { weight: 1, accumulate: true });
    expect([...memory.parameterView('native', unused)]).toEqual(new Array(40).fill(5));
    native.dispose();
  });

  test(
    'announces each bucket when all of it is there, and not the one that waits for the loss',
    async () => {
      const { native, layout, memory, outputs } = await steps(model);
      const buckets = planBuckets(layout.segments, 256 * 1024);
      const last = buckets.length - 1;
      expect(buckets.length).toBeGreaterThan(3);
      const stepWords = new StepWords(makeStepWords(0, buckets.length));
      const words = stepWords.bucketWords;
      const view = memory.view('native', 0);
      const reader = await Reader.start(view, buckets, words);
      const readiness = new Readiness({ layout, buckets, words: stepWords, waker: 0 });
      for (let step = 0; step < 20; step++) {
        view.fill(NaN);
        reader.watchFor(step + 1);
        native.gradient(classBatch(), { ...firstKey, step }, outputs('native'), {
          weight: 0.5,
          accumulate: false,
          signals: readiness.during(step),
        });
        expect([...words]).toEqual(buckets.map(({ index }) => (index === last ? step : step + 1)));
        readiness.finish(step);
        reader.waitFor(step + 1);
        expect(sameBytes(reader.copies, view)).toBe(true);
      }
      await reader.end();
      native.dispose();
    },
    timeoutMs,
  );

  test('wakes once per announced bucket or less, and at least after the last that the step announces', async () => {
    const { native, layout, memory, outputs } = await steps(model);
    const buckets = planBuckets(layout.segments, 256 * 1024);
    const stepWords = new StepWords(makeStepWords(0, buckets.length));
    const words = stepWords.bucketWords;
    const seen: number[] = [];
    const waker = addon.createWaker(() => seen.push(words.filter((word) => word === 1).length));
    const readiness = new Readiness({ layout, buckets, words: stepWords, waker });
    memory.view('native', 0).fill(0);
    native.gradient(classBatch(), firstKey, outputs('native'), {
      weight: 1,
      accumulate: false,
      signals: readiness.during(0),
    });
    await turns();
    // This thread was inside of the step: its wakes became one.
    expect(seen).toEqual([buckets.length - 1]);
    readiness.finish(0);
    expect(words.every((word) => word === 1)).toBe(true);
    addon.closeWaker(waker);
    native.dispose();
  });

  test(
    'wakes another thread, which it does not keep alive',
    async () => {
      const thread = wakeable(given(engine.native).path);
      const [handle] = (await once(thread, 'message')) as [number];
      addon.wake(handle);
      expect(await once(thread, 'message')).toEqual(['woken']);
      addon.wake(handle);
      expect(await once(thread, 'message')).toEqual(['woken']);
      thread.postMessage('unref');
      expect(await once(thread, 'exit')).toEqual([0]);
      // The thread is gone, and so is its waker.
      for (let i = 0; i < 3; i++) addon.wake(handle);
    },
    timeoutMs,
  );

  test('does nothing with a waker that is closed, or that there never was', async () => {
    let numWoken = 0;
    const waker = addon.createWaker(() => numWoken++);
    addon.wake(waker);
    addon.closeWaker(waker);
    addon.wake(waker);
    addon.wake(123_456);
    addon.closeWaker(waker);
    await turns();
    expect(numWoken).toBe(0);
  });

  test("says in TensorFlow's words what it refuses", () => {
    const numGraphs = addon.numGraphs();
    const graph = { graphDef: Uint8Array.of(1, 2, 3), config: new Uint8Array(), feeds: [], outputs: [], numPlain: 0 };
    expect(() => addon.createGraph(graph)).toThrow(/Invalid GraphDef/);
    const feeds = [{ name: 'x', dtype: 1, shape: [2] }];
    expect(() => addon.createGraph({ ...graph, graphDef: new Uint8Array(), feeds })).toThrow(
      'there is no placeholder x',
    );
    expect(addon.numGraphs()).toBe(numGraphs);
  });

  afterAll(() => {
    expect(addon.numGraphs()).toBe(0);
  });
});

test('the bits of a contribution are those of two rounded operations', () => {
  const [target, values] = [spread(64, 3), spread(64, 9)];
  const weight = 0.3;
  const expected = target.map((old, i) => Math.fround(old + Math.fround((values[i] ?? NaN) * Math.fround(weight))));
  contribute(target, values, { weight, accumulate: true });
  expect(target).toEqual(expected);
});

function sameBytes(a: Float32Array, b: Float32Array): boolean {
  const bytes = ({ buffer, byteOffset, byteLength }: Float32Array) => new Uint8Array(buffer, byteOffset, byteLength);
  return Buffer.compare(bytes(a), bytes(b)) === 0;
}

/** Lets what woke this thread run. */
async function turns(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** A thread that makes a waker, posts it, and says when it is woken. */
function wakeable(path: string): Worker {
  const program = `
    const { parentPort, workerData } = require('node:worker_threads');
    const addon = require(workerData);
    const handle = addon.createWaker(() => parentPort.postMessage('woken'));
    parentPort.on('message', () => parentPort.close());
    parentPort.postMessage(handle);
  `;
  return new Worker(program, { eval: true, workerData: path });
}

/** A thread that copies each bucket as soon as its word says that it is there. */
class Reader {
  readonly #thread: Worker;
  /** The value that it is waiting for, and the last one that it has copied all buckets of. */
  readonly #state: Int32Array;
  readonly copies: Float32Array;

  private constructor(thread: Worker, state: Int32Array, copies: Float32Array) {
    this.#thread = thread;
    this.#state = state;
    this.copies = copies;
  }

  static async start(view: Float32Array, buckets: readonly Bucket[], words: Int32Array): Promise<Reader> {
    const program = `
      const { parentPort, workerData: { view, buckets, words, state, copies } } = require('node:worker_threads');
      const announce = (index, value) => (Atomics.store(state, index, value), Atomics.notify(state, index));
      parentPort.on('message', (value) => {
        if (value === 'end') return parentPort.close();
        announce(0, value);
        for (let left = [...buckets]; left.length > 0; ) {
          left = left.filter(({ index, offset, elements }) => {
            if (Atomics.load(words, index) !== value) return true;
            // What is written last is read first.
            const end = offset + elements - 1;
            copies[end] = view[end];
            copies.set(view.subarray(offset, end), offset);
          });
        }
        announce(1, value);
      });
      parentPort.postMessage('ready');
    `;
    const state = new Int32Array(new SharedArrayBuffer(8));
    const copies = new Float32Array(new SharedArrayBuffer(4 * view.length));
    const thread = new Worker(program, { eval: true, workerData: { view, buckets, words, state, copies } });
    await once(thread, 'message');
    return new Reader(thread, state, copies);
  }

  /** Until the thread looks at nothing but the words. */
  watchFor(value: number): void {
    this.#thread.postMessage(value);
    Atomics.wait(this.#state, 0, value - 1, timeoutMs);
  }

  /** Until it has copied all buckets of that value. */
  waitFor(value: number): void {
    Atomics.wait(this.#state, 1, value - 1, timeoutMs);
  }

  async end(): Promise<void> {
    this.#thread.postMessage('end');
    await once(this.#thread, 'exit');
  }
}
