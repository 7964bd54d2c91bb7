import { describe, expect, it } from 'vitest';
import { adam, adamw } from '../../src/optimizer/config.js';
import { adamCoefficients } from '../../src/optimizer/optimizer.js';
import { planTreatments, requireTreated, treatedParts } from '../../src/optimizer/treatment.js';
import { planLayout } from '../../src/state/layout.js';

const sizes = { 'embed/kernel': 40, 'first/kernel': 20, 'first/bias': 5, 'second/kernel': 30, 'second/bias': 2 };
const parameters = Object.entries(sizes).map(([name, size]) => ({ name, shape: [size], trainable: true }));
const state = { name: 'norm/mean', shape: [3], trainable: false };

describe('planTreatments', () => {
  it('makes one range of each segment where all are alike', () => {
    const layout = planLayout([...parameters, state], 1, { maxSegmentElements: 64 });
    expect(planTreatments(layout, adamw())).toEqual(
      layout.segments.map(({ trainableElements: end }) =>
        end === 0 ? [] : [{ offset: 0, end, rateFactor: 1, decays: true }],
      ),
    );
  });

  it('takes the first factor that matches, and joins neighbours that are alike', () => {
    const layout = planLayout([...parameters, state], 1);
    const optimizer = adamw({ rateFactors: { 'embed/*': 0.25, '*/kernel': 0.5 }, noDecay: ['*/bias'] });
    expect(planTreatments(layout, optimizer)).toEqual([
      [
        { offset: 0, end: 48, rateFactor: 0.25, decays: true },
        { offset: 48, end: 80, rateFactor: 0.5, decays: true },
        { offset: 80, end: 96, rateFactor: 1, decays: false },
        { offset: 96, end: 128, rateFactor: 0.5, decays: true },
        { offset: 128, end: 144, rateFactor: 1, decays: false },
      ],
    ]);
  });

  it('leaves out no element of any range of a segment', () => {
    const layout = planLayout(parameters, 0);
    const [ranges = []] = planTreatments(layout, adam({ rateFactors: { 'first/*': 2 } }));
    const parts = [...treatedParts(ranges, { offset: 32, elements: 80 })];
    expect(parts.map(({ offset, end, rateFactor }) => [offset, end, rateFactor])).toEqual([
      [32, 48, 1],
      [48, 96, 2],
      [96, 112, 1],
    ]);
    expect(() => [...treatedParts(ranges, { offset: 96, elements: 64 })]).toThrow('are not trainable');
    const [first, , ...others] = ranges;
    const withGap = [first, ...others].flatMap((one) => one ?? []);
    expect(() => [...treatedParts(withGap, { offset: 32, elements: 80 })]).toThrow('elements 48 to 112');
  });

  it('has the parts of any range that a look at all ranges has, and looks at few', () => {
    const length = 500;
    let numLooks = 0;
    const ranges = new Proxy(
      Array.from({ length }, (_, i) => ({ offset: 16 * i, end: 16 * (i + 1), rateFactor: i, decays: i % 2 === 0 })),
      { get: (target, key, self) => (numLooks++, Reflect.get(target, key, self) as unknown) },
    );
    for (let offset = 0; offset + 160 <= 16 * length; offset += 13) {
      const end = offset + 160;
      const expected = [];
      for (let first = offset; first < end; first = 16 * (Math.floor(first / 16) + 1)) {
        const factor = Math.floor(first / 16);
        expected.push([first, Math.min(16 * (factor + 1), end), factor, factor % 2 === 0]);
      }
      numLooks = 0;
      const parts = [...treatedParts(ranges, { offset, elements: 160 })];
      expect(numLooks).toBeLessThan(30);
      expect(parts.map((part) => [part.offset, part.end, part.rateFactor, part.decays])).toEqual(expected);
    }
  });
});

describe('a treatment', () => {
  it('multiplies the rate, and the decay that follows from it, or leaves the decay out', () => {
    const config = adamw({ learningRate: 0.5, weightDecay: 0.25 });
    const plain = adamCoefficients(config, 3);
    const halved = adamCoefficients(config, 3, { rateFactor: 0.5, decays: true });
    expect(halved).toEqual({ ...plain, stepSize: plain.stepSize / 2, decay: plain.decay / 2 });
    expect(adamCoefficients(config, 3, { rateFactor: 1, decays: false })).toEqual({ ...plain, decay: 0 });
  });

  it('of a pattern that matches no trainable parameter is refused', () => {
    const names = parameters.map(({ name }) => name);
    expect(() => {
      requireTreated(adamw({ noDecay: ['*.bias'] }), names);
    }).toThrow('optimizer.noDecay: "*.bias" matches none');
    expect(() => {
      requireTreated(adam({ rateFactors: { '*/bias': 1, decoder: 2 } }), names);
    }).toThrow('optimizer.rateFactors: "decoder" matches none');
    expect(() => {
      requireTreated(adamw({ noDecay: ['*/bias'], rateFactors: { 'first/*': 2 } }), names);
    }).not.toThrow();
  });
});
