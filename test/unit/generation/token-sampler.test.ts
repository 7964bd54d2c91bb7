import { describe, expect, it } from 'vitest';
import { TokenSampler, type SamplerOptions } from '../../../worker/generation/token-sampler.js';

const logits = Float32Array.of(0, 2, 1, 2, -1);

/** How often each token comes, of so many draws. */
function frequencies(options: SamplerOptions, times = 20_000): number[] {
  const sampler = new TokenSampler(options);
  const counts = logits.slice().fill(0);
  for (let i = 0; i < times; i++) {
    const token = sampler.next(logits);
    counts[token] = (counts[token] ?? 0) + 1;
  }
  return Array.from(counts, (count) => count / times);
}

function softmax(temperature: number, kept: readonly number[]): number[] {
  const weights = Array.from(logits, (logit, token) => (kept.includes(token) ? Math.exp(logit / temperature) : 0));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

describe('the next token', () => {
  it.each([
    { temperature: 1, kept: [0, 1, 2, 3, 4] },
    { temperature: 3, kept: [0, 1, 2, 3, 4] },
    { temperature: 1, topK: 3, kept: [1, 2, 3] },
    { temperature: 0.5, topK: 2, kept: [1, 3] },
  ])('comes as often as softmax says: temperature $temperature, top-k $topK', ({ kept, temperature, ...options }) => {
    const found = frequencies({ temperature, ...options, seed: 1 });
    const expected = softmax(temperature, kept);
    found.forEach((frequency, token) => {
      expect(Math.abs(frequency - (expected[token] ?? NaN))).toBeLessThan(0.015); // 4 standard deviations
      if (!kept.includes(token)) expect(frequency).toBe(0);
    });
  });

  it('is the likeliest at temperature 0, of equal ones the first', () => {
    expect(frequencies({ temperature: 0, seed: 1 }, 10)).toEqual([0, 1, 0, 0, 0]);
  });

  it('is the same for the same seed, and another for another one', () => {
    const draw = (seed: number): number[] => {
      const sampler = new TokenSampler({ temperature: 1, seed });
      return Array.from({ length: 50 }, () => sampler.next(logits));
    };
    expect(draw(3)).toEqual(draw(3));
    expect(draw(3)).not.toEqual(draw(4));
  });

  it('is never one whose probability was too small for a number', () => {
    const sampler = new TokenSampler({ temperature: 5, topK: 4, seed: 1 });
    const given = Float32Array.of(-Infinity, 0, -Infinity, -1, -Infinity);
    const drawn = Array.from({ length: 200 }, () => sampler.next(given));
    expect(new Set(drawn)).toEqual(new Set([1, 3]));
  });

  it.each([
    { found: 'token 1 the logit NaN', given: [0, NaN] },
    { found: 'token 2 the logit Infinity', given: [0, -Infinity, Infinity] },
    { found: 'each token the logit -Infinity', given: [-Infinity, -Infinity] },
  ])('is not drawn where the model gives $found', ({ found, given }) => {
    const sampler = new TokenSampler({ temperature: 1, seed: 1 });
    expect(() => sampler.next(Float32Array.from(given))).toThrow(
      expect.objectContaining({ code: 'ERR_MODEL_INVALID', message: expect.stringContaining(found) as string }),
    );
  });
});
