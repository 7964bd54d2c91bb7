import { describe, expect, it } from 'vitest';
import { matchesPattern, requireMatches } from '../../src/state/name-pattern.js';

describe('a pattern of names', () => {
  it.each([
    { pattern: 'dense1/kernel', name: 'dense1/kernel', matches: true },
    { pattern: 'dense1/kernel', name: 'dense1/kernel_1', matches: false },
    { pattern: 'dense', name: 'dense1/kernel', matches: false },
    { pattern: '*', name: 'anything/at.all', matches: true },
    { pattern: 'transformer.h.*.attn.c_attn.weight', name: 'transformer.h.11.attn.c_attn.weight', matches: true },
    { pattern: 'transformer.h.*.attn.c_attn.weight', name: 'transformer.h.11.mlp.c_fc.weight', matches: false },
    { pattern: '*.bias', name: 'transformer.ln_f.bias', matches: true },
    { pattern: '*.bias', name: 'transformer/ln_f/bias', matches: false },
    { pattern: '*/bias*', name: 'dense/bias', matches: true },
    { pattern: 'a+b(*)[0]$', name: 'a+b(c)[0]$', matches: true },
    { pattern: 'a+b', name: 'aab', matches: false },
  ])('"$pattern" and "$name": $matches', ({ pattern, name, matches }) => {
    expect(matchesPattern(pattern, name)).toBe(matches);
  });

  it('that matches nothing is named, with what there is', () => {
    expect(() => {
      requireMatches('freeze', ['embed*', '*bias', 'nothing*'], ['kernel', 'bias']);
    }).toThrow(
      expect.objectContaining({
        code: 'ERR_JOB_INVALID',
        message: expect.stringContaining(
          'freeze: "embed*", "nothing*" matches none of the parameters that it could: kernel, bias.',
        ) as unknown,
      }),
    );
  });
});
