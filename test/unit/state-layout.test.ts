import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planLayout } from '../../src/state/layout.js';

const parameter = (name: string, shape: number[], trainable = true) => ({ name, shape, trainable });

const anyModel = fc
  .array(fc.record({ size: fc.integer({ min: 0, max: 64 }), trainable: fc.boolean() }), { maxLength: 12 })
  .map((specs) => specs.map(({ size, trainable }, i) => parameter(`p${i}`, [size], trainable)));

describe('a layout', () => {
  it('places trainable parameters first, then state, then the scalars, then frozen ones, on 64-byte boundaries', () => {
    const layout = planLayout(
      [
        parameter('a', [3, 5]),
        { ...parameter('base', [2], false), frozen: true },
        parameter('mean', [16], false),
        parameter('b', [17]),
        parameter('c', []),
      ],
      2,
    );
    expect(layout).toEqual({
      parameters: [
        { ...parameter('a', [3, 5]), size: 15, segment: 0, offset: 0 },
        { ...parameter('b', [17]), size: 17, segment: 0, offset: 16 },
        { ...parameter('c', []), size: 1, segment: 0, offset: 48 },
        { ...parameter('mean', [16], false), size: 16, segment: 0, offset: 64 },
        { ...parameter('base', [2], false), frozen: true, size: 2, segment: 0, offset: 96 },
      ],
      segments: [{ elements: 112, trainableElements: 64, reducedElements: 96 }],
      numScalars: 2,
      scalars: { segment: 0, offset: 80 },
    });
  });

  it('begins a new segment where the next parameter does not fit, and keeps each parameter whole', () => {
    const layout = planLayout([parameter('a', [20]), parameter('b', [30]), parameter('mean', [10], false)], 1, {
      maxSegmentElements: 64,
    });
    expect(layout.parameters.map(({ segment, offset }) => [segment, offset])).toEqual([
      [0, 0],
      [0, 32],
      [1, 0],
    ]);
    expect(layout.segments).toEqual([
      { elements: 64, trainableElements: 64, reducedElements: 64 },
      { elements: 32, trainableElements: 0, reducedElements: 32 },
    ]);
    expect(layout.scalars).toEqual({ segment: 1, offset: 16 });
  });

  it('keeps all places apart, aligned and inside their segments, trainable ones before others, for any model', () => {
    fc.assert(
      fc.property(
        anyModel,
        fc.integer({ min: 0, max: 20 }),
        fc.integer({ min: 64, max: 200 }),
        (model, scalars, max) => {
          const { parameters, segments, ...rest } = planLayout(model, scalars, { maxSegmentElements: max });
          const used = segments.map(() => 0);
          for (const { segment, offset, size, trainable } of [
            ...parameters,
            { ...rest.scalars, size: scalars, trainable: false },
          ]) {
            expect(offset % 16).toBe(0);
            expect(offset).toBeGreaterThanOrEqual(used[segment] ?? Infinity);
            expect(offset + size).toBeLessThanOrEqual(segments[segment]?.elements ?? 0);
            if (trainable) expect(offset + size).toBeLessThanOrEqual(segments[segment]?.trainableElements ?? 0);
            else expect(offset).toBeGreaterThanOrEqual(segments[segment]?.trainableElements ?? Infinity);
            used[segment] = offset + size;
          }
          for (const { elements } of segments) expect(elements).toBeLessThanOrEqual(max);
          expect(parameters.map(({ name }) => name).sort()).toEqual(model.map(({ name }) => name).sort());
        },
      ),
    );
  });

  it('has one segment even for a model without parameters', () => {
    expect(planLayout([], 0)).toEqual({
      parameters: [],
      segments: [{ elements: 0, trainableElements: 0, reducedElements: 0 }],
      numScalars: 0,
      scalars: { segment: 0, offset: 0 },
    });
  });

  it('refuses a parameter larger than a segment, and shows the arithmetic', () => {
    expect(() => planLayout([parameter('embedding', [100, 30])], 1, { maxSegmentElements: 1024 })).toThrow(
      expect.objectContaining({
        code: 'ERR_MODEL_INVALID',
        message:
          'Parameter "embedding" of shape [100, 30] has 3000 elements (12000 bytes), and a segment holds 1024 (4096 bytes). Split the parameter in two.',
      }),
    );
  });

  it('refuses two parameters of one name, and names that belong to moments', () => {
    const invalid = (message: string): unknown =>
      expect.objectContaining({ code: 'ERR_MODEL_INVALID', message: expect.stringContaining(message) as string });
    expect(() => planLayout([parameter('a', [1]), parameter('a', [2], false)], 0)).toThrow(invalid('are named "a"'));
    expect(() => planLayout([parameter('optimizer/moment1/a', [1])], 0)).toThrow(invalid('"optimizer/moment1/a"'));
  });
});
