import { createHash } from 'node:crypto';
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { weightsDigest } from '../../src/state/digest.js';
import { planLayout } from '../../src/state/layout.js';
import { FlatMemory, type SharedFlatMemory } from '../../src/state/memory.js';

const parameters = [
  { name: 'kernel', shape: [5, 4], trainable: true },
  { name: 'mean', shape: [3], trainable: false },
  { name: 'bias', shape: [4], trainable: true },
];
const layout = planLayout(parameters, 2, { maxSegmentElements: 32 });
const [kernel, bias, mean] = layout.parameters;
if (!kernel || !bias || !mean) throw new Error('the layout lacks a parameter');

function createMemory(): FlatMemory {
  const whole = layout.segments.map(({ elements }) => elements);
  return FlatMemory.create(layout, [
    { name: 'parameters', elements: whole },
    { name: 'odd', elements: layout.segments.map(() => 5) },
    { name: 'none', elements: layout.segments.map(() => 0) },
    { name: 'gradient', elements: whole },
  ]);
}

/** Bytes of so many elements in whole pages. */
function pages(elements: number): number {
  return Math.ceil(elements / 1024) * 4096;
}

describe('flat memory', () => {
  it('holds each region of each segment on a page, apart from the others, as zeros', () => {
    const memory = createMemory();
    layout.segments.forEach(({ elements }, segment) => {
      expect(memory.address('parameters', segment)).toBe(0);
      expect(memory.address('odd', segment)).toBe(pages(elements));
      expect(memory.address('none', segment)).toBe(pages(elements) + 4096);
      expect(memory.address('gradient', segment)).toBe(pages(elements) + 4096);
      expect(Array.from(memory.view('gradient', segment))).toEqual(new Array(elements).fill(0));
      expect(memory.view('odd', segment)).toHaveLength(5);
      expect(memory.view('none', segment)).toHaveLength(0);
    });
  });

  it('shows a parameter in every region at its place in the layout', () => {
    const memory = createMemory();
    memory.parameterView('gradient', mean).set([7, 8, 9]);
    expect(Array.from(memory.view('gradient', mean.segment).subarray(mean.offset, mean.offset + 3))).toEqual([7, 8, 9]);
    expect(memory.parameterView('gradient', kernel)).toHaveLength(20);
  });

  it('gives the bytes at an address, as the regions hold them', () => {
    const memory = createMemory();
    memory.view('gradient', 0).set([1]);
    expect(Array.from(memory.bytes(0, memory.address('gradient', 0), 4))).toEqual([0, 0, 0x80, 0x3f]);
  });

  it('has kernels for each segment that work on its regions', () => {
    const memory = createMemory();
    const segment = bias.segment;
    memory.view('parameters', segment).fill(1.5);
    memory.view('gradient', segment).fill(2);
    const [parameters, gradient] = [memory.address('parameters', segment), memory.address('gradient', segment)];
    memory.kernels(segment).add(parameters, parameters, gradient, 4);
    expect(Array.from(memory.view('parameters', segment).subarray(0, 5))).toEqual([3.5, 3.5, 3.5, 3.5, 1.5]);
  });

  it('is the same memory in a thread that attaches it', async () => {
    const memory = createMemory();
    memory.parameterView('parameters', bias).set([1, 2, 3, 4]);
    const thread = new Worker(
      `const { workerData, parentPort } = require('node:worker_threads');
       const bytes = new Float32Array(workerData.memories[${bias.segment}].buffer);
       const seen = bytes[${bias.offset + 2}];
       bytes[${bias.offset + 2}] = 30;
       parentPort.postMessage(seen);`,
      { eval: true, workerData: memory.share() },
    );
    const seen = await new Promise((resolve, reject) => thread.once('message', resolve).once('error', reject));
    await thread.terminate();
    expect(seen).toBe(3);
    expect(Array.from(memory.parameterView('parameters', bias))).toEqual([1, 2, 30, 4]);
  });

  it('attaches a structured clone with the same regions at the same addresses', () => {
    const memory = createMemory();
    const { port1, port2 } = new MessageChannel();
    port1.postMessage(memory.share());
    const received = receiveMessageOnPort(port2) as { message: SharedFlatMemory }; // what was posted a line before
    port1.close();
    const attached = FlatMemory.attach(received.message);
    expect(attached.layout).toEqual(layout);
    expect(attached.address('gradient', 1)).toBe(memory.address('gradient', 1));
    expect(attached.has('gradient')).toBe(true);
    expect(attached.has('moment1')).toBe(false);
    attached.kernels(0).scale(0, 0, 1, 1);
    attached.view('gradient', 1).set([42]);
    expect(memory.view('gradient', 1)[0]).toBe(42);
  });

  it('refuses regions that are over 4 GiB together, and shows the arithmetic', () => {
    const large = { ...layout, segments: [{ elements: 2 ** 29, trainableElements: 0, reducedElements: 0 }] };
    const regions = ['parameters', 'moment1', 'moment2'].map((name) => ({ name, elements: [2 ** 29] }));
    expect(() => FlatMemory.create(large, regions)).toThrow(
      expect.objectContaining({
        code: 'ERR_MEMORY',
        message:
          'Segment 0 needs parameters 2147483648 + moment1 2147483648 + moment2 2147483648 = 6442450944 bytes, and one WebAssembly memory holds 4294967296. Use smaller segments.',
      }),
    );
  });

  it('is stopped by an assertion at a region or segment that is not there', () => {
    const memory = createMemory();
    expect(() => memory.address('moment1', 0)).toThrow('there is no region moment1 in segment 0');
    expect(() => memory.kernels(9)).toThrow('there is no segment 9');
    expect(() => memory.parameterView('odd', kernel)).toThrow('region odd has no kernel');
  });
});

describe('the weights digest', () => {
  it('is the SHA-256 of the little-endian values, trainable ones first, whatever the segments', () => {
    const values = { kernel: Array.from({ length: 20 }, (_, i) => i / 8), bias: [1, 2, 3, 4], mean: [-1, -2, -3] };
    const expected = createHash('sha256')
      .update(new Float32Array([...values.kernel, ...values.bias, ...values.mean]))
      .digest('hex');
    for (const maxSegmentElements of [32, 64, 1024]) {
      const planned = planLayout(parameters, 2, { maxSegmentElements });
      const elements = planned.segments.map((segment) => segment.elements);
      const memory = FlatMemory.create(planned, [{ name: 'parameters', elements }]);
      for (const parameter of planned.parameters) {
        memory.parameterView('parameters', parameter).set(values[parameter.name as keyof typeof values]); // as above
      }
      const hash = createHash('sha256');
      weightsDigest(planned, memory, hash);
      expect(hash.digest('hex')).toBe(expected);
    }
  });
});
