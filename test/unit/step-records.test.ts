import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { StepRecord } from '../../src/protocol/messages.js';
import { StepRecords } from '../../worker/step-records.js';

const capacity = 5;
const record = (step: number): StepRecord => ({ step, loss: step / 3, metrics: [step, -step] });
const action = fc.oneof(
  { weight: 5, arbitrary: fc.record({ add: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ cut: fc.nat(4) }) },
);

test('the last records are those that an array has, cut off and added in any order', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 40 }), fc.nat(7), (actions, count) => {
      const records = new StepRecords(capacity);
      let expected: StepRecord[] = [];
      for (const one of actions) {
        const last = expected.at(-1)?.step ?? 0;
        expect(records.lastStep).toBe(last);
        if ('add' in one) {
          records.add(record(last + one.add));
          expected = [...expected, record(last + one.add)].slice(-capacity);
        } else {
          records.cutAfter(last - one.cut);
          expected = expected.filter(({ step }) => step <= last - one.cut);
        }
      }
      expect(records.last(count)).toEqual(count === 0 ? [] : expected.slice(-count));
      expect(records.numAfter(3)).toBe(expected.filter(({ step }) => step > 3).length);
    }),
  );
});

test('a loss that is not a number stays one', () => {
  const records = new StepRecords(capacity);
  records.add({ step: 1, loss: NaN, metrics: [] });
  expect(records.last(1)).toEqual([{ step: 1, loss: NaN, metrics: [] }]);
});
