import { expect, test } from 'vitest';
import { Replacements, replacementWindowMs } from '../../bin/replacements.js';

test('each further replacement waits twice as long, ten seconds at most', () => {
  const replacements = new Replacements(8);
  const delays = Array.from({ length: 8 }, () => replacements.next(0));
  expect(delays).toEqual([250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
});

test('there are only so many within ten minutes, after which they are forgotten', () => {
  const replacements = new Replacements(2);
  expect([replacements.next(0), replacements.next(10), replacements.next(20)]).toEqual([250, 500, null]);
  expect(replacements.next(replacementWindowMs)).toBe(500);
  expect(replacements.next(2 * replacementWindowMs)).toBe(250);
});

test('with none allowed nobody is replaced', () => {
  expect(new Replacements(0).next(0)).toBeNull();
});
