import { expect, test } from 'vitest';
import { listed } from '../../src/listed.js';

test.each([
  { items: [], text: '' },
  { items: ['a', 'b'], text: 'a; b' },
  { items: ['a', 'b', 'c'], text: 'a; b; and 1 more' },
  { items: ['a', 'b', 'c', 'd', 'e'], text: 'a; b; and 3 more' },
])('of $items a message gives two, and counts the others', ({ items, text }) => {
  expect(listed(items, 2)).toBe(text);
  expect(listed(items, 2, ', ')).toBe(text.replaceAll(';', ','));
});
