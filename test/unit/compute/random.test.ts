import { afterEach, describe, expect, it } from 'vitest';
import { philox4x32 } from '../../../worker/compute/philox.js';
import {
  randomStream,
  withSeededRandom,
  withSeededRandomAsync,
  type RandomKey,
} from '../../../worker/compute/random.js';

const hostRandom = Math.random;
afterEach(() => expect(Math.random).toBe(hostRandom));

function draw(count: number): number[] {
  return Array.from({ length: count }, () => Math.random());
}

function drawFrom(key: RandomKey, count = 4): number[] {
  return withSeededRandom(key, () => draw(count));
}

const key = { purpose: 'step', seed: 1, step: 2, slot: 3 } as const;

describe('randomStream', () => {
  it('makes each number of 27 and 26 upper bits of two words', () => {
    // The first block is Random123's test vector for a key and a counter of zeros.
    const next = randomStream({ purpose: 'step', seed: 0, step: 0, slot: 0 });
    expect(next()).toBe(((0x6627e8d5 >>> 5) * 2 ** 26 + (0xe169c58d >>> 6)) / 2 ** 53);
    expect(next()).toBe(((0xbc57ac4c >>> 5) * 2 ** 26 + (0x9b00dbd8 >>> 6)) / 2 ** 53);
  });

  it('is keyed by the seed and counts position, slot and step: a change would change every run', () => {
    const [high, low] = philox4x32([0, 3, 2, 0], [1, 0]);
    expect(randomStream(key)()).toBe(((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53);
  });

  it('stays in [0, 1) and does not repeat over many draws', () => {
    const next = randomStream(key);
    const drawn = Array.from({ length: 10_000 }, next);
    expect(drawn.every((number) => number >= 0 && number < 1)).toBe(true);
    expect(new Set(drawn).size).toBe(drawn.length);
    const mean = drawn.reduce((sum, number) => sum + number, 0) / drawn.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.02);
  });
});

describe('withSeededRandom', () => {
  it('gives the same numbers for the same key, whatever was drawn before', () => {
    const first = drawFrom(key);
    drawFrom({ purpose: 'model', seed: 9 }, 17);
    draw(5);
    expect(drawFrom(key)).toEqual(first);
  });

  it.each([
    { ...key, seed: 2 },
    { ...key, step: 3 },
    { ...key, step: key.step + 2 ** 32 },
    { ...key, slot: 4 },
    { purpose: 'model', seed: 1 } as const,
    { purpose: 'evaluation', seed: 1 } as const,
  ])('gives other numbers for the key %o', (other) => {
    const numbers = drawFrom(key);
    for (const number of drawFrom(other)) expect(numbers).not.toContain(number);
  });

  it('gives the model, the first step and evaluation streams of their own', () => {
    const seed = 1;
    const keys: RandomKey[] = [
      { purpose: 'step', seed, step: 0, slot: 0 },
      { purpose: 'model', seed },
      { purpose: 'evaluation', seed },
    ];
    expect(new Set(keys.flatMap((each) => drawFrom(each))).size).toBe(12);
  });

  it('restores Math.random when the body throws', () => {
    expect(() =>
      withSeededRandom(key, () => {
        throw new Error('from the body');
      }),
    ).toThrow('from the body');
  });
});

describe('withSeededRandomAsync', () => {
  it('holds across what the body awaits', async () => {
    const drawn = await withSeededRandomAsync(key, async () => {
      const before = draw(2);
      await new Promise(setImmediate);
      return [...before, ...draw(2)];
    });
    expect(drawn).toEqual(drawFrom(key));
  });

  it('leaves other tasks of the process on their own randomness, so that they do not shift the stream', async () => {
    const stray = new Promise<number[]>((resolve) => {
      setImmediate(() => resolve(draw(3)));
    });
    const drawn = await withSeededRandomAsync(key, async () => {
      const before = draw(2);
      await stray;
      return [...before, ...draw(2)];
    });
    const strayDraws = await stray;
    expect(drawn).toEqual(drawFrom(key));
    expect(drawFrom(key, 8)).not.toContain(strayDraws[0]);
  });

  it('gives two open scopes each their own stream', async () => {
    const other = { purpose: 'model', seed: 5 } as const;
    const drawTwice = async () => {
      const before = draw(2);
      await new Promise(setImmediate);
      return [...before, ...draw(2)];
    };
    const [one, two] = await Promise.all([
      withSeededRandomAsync(key, drawTwice),
      withSeededRandomAsync(other, drawTwice),
    ]);
    expect([one, two]).toEqual([drawFrom(key), drawFrom(other)]);
  });

  it('restores Math.random when the body rejects', async () => {
    await expect(withSeededRandomAsync(key, () => Promise.reject(new Error('from the body')))).rejects.toThrow(
      'from the body',
    );
  });
});
