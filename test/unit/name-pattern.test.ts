import { expect, test } from 'vitest';
import { namesByPattern } from '../../src/state/name-map.js';
import { fillStars, namePattern } from '../../src/state/name-pattern.js';

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
