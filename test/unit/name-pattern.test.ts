import { describe, expect, it, test } from 'vitest';
import { namesByPattern } from '../../src/state/name-map.js';
import { fillStars, matchesPattern, namePattern, requireMatches } from '../../src/state/name-pattern.js';

test.each([
  ['h.*.attn.bias', 'h.12.attn.bias', ['12']],
  ['h.*.attn.bias', 'h.12.attnXbias', null],
  ['*.weight', 'a.b.weight', ['a.b']],
  ['*', '', ['']],
  ['layer/*/*', 'layer/1/kernel', ['1', 'kernel']],
  ['kernel', 'kernel2', null],
  ['a+(b)[c]$', 'a+(b)[c]$', []],
])('the pattern %s finds in %s: %j', (pattern, name, stars) => {
  expect(namePattern(pattern)(name)).toEqual(stars);
});

test('stars are filled in their order', () => {
  expect(fillStars('dense*/*', ['1', 'kernel'])).toBe('dense1/kernel');
  expect(fillStars('head/*', ['bias', 'unused'])).toBe('head/bias');
});

test('the first line of a map that fits counts, and names that none fits stay', () => {
  const nameOf = namesByPattern({ 'h.*.bias': null, 'h.*': 'block*' });
  expect(['h.1.bias', 'h.1.scale', 'norm'].map(nameOf)).toEqual([null, 'block1.scale', 'norm']);
});

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
