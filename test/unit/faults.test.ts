import { describe, expect, it } from 'vitest';
import { faultsLeft, refuseImpossible } from '../../bin/chaos.js';
import { chaos, formatFault, parseFaults } from '../../src/chaos/faults.js';

const text = 'kill:1@20,stop:0@40,join@60,coordinator@80,partition:2@90,delay:1=200ms@100';
const faults = [
  chaos.kill({ rank: 1, step: 20 }),
  chaos.stop({ rank: 0, step: 40 }),
  chaos.join({ step: 60 }),
  chaos.coordinator({ step: 80 }),
  chaos.partition({ rank: 2, step: 90 }),
  chaos.delay({ rank: 1, step: 100, delayMs: 200 }),
];

describe('faults in words', () => {
  it('are those that a test makes', () => {
    expect(parseFaults(text)).toEqual(faults);
    expect(faults.map(formatFault).join(',')).toBe(text);
  });

  it.each([
    ['', 'nothing'],
    ['kill:1', 'no step'],
    ['kill@20', 'no rank'],
    ['kill:1@0', 'before the first step'],
    ['kill:-1@20', 'a rank below 0'],
    ['kill:1=5ms@20', 'a delay of what is not delayed'],
    ['delay:1@20', 'a delay of no length'],
    ['join:1@20', 'a rank that nobody has'],
    ['explode:1@20', 'an unknown one'],
    ['kill:1@20,,join@60', 'an empty one'],
  ])('"%s" are refused, with the word that is none: %s', (wrong) => {
    const found = wrong.split(',').find((part) => part !== 'kill:1@20' && part !== 'join@60') ?? wrong;
    expect(() => parseFaults(wrong)).toThrow(`"${found}" is no fault`);
  });
});

describe('the faults of a run', () => {
  const run = { numWorkers: 3, maxWorkers: undefined, runDir: 'a' };

  it('can come where there are ranks, slots and a folder for them', () => {
    expect(() => {
      refuseImpossible({ ...run, faults }, 4);
    }).not.toThrow();
  });

  it.each([
    ['kill:3@20', { ...run, maxWorkers: 3 }, 'ranks 0 to 2'],
    ['join@20,join@30', run, 'join@30 can never come: the run has 4 worker(s) at most'],
    ['coordinator@20', { ...run, runDir: undefined }, 'give --run-dir'],
  ])('are refused otherwise: %s', (words, options, why) => {
    expect(() => {
      refuseImpossible({ ...options, faults: parseFaults(words) }, 4);
    }).toThrow(why);
  });

  it('come once, also where the run is started again', () => {
    const had = ['kill:1@20', 'coordinator@80'].map((fault) => ({ fault, workerId: null, step: 80 }));
    expect(faultsLeft(faults, had).map(formatFault)).toEqual([
      'stop:0@40',
      'join@60',
      'partition:2@90',
      'delay:1=200ms@100',
    ]);
  });
});
