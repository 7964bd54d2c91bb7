import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PieceCutter, pieceChars } from '../../../worker/data/piece-cutter.js';

function cut(parts: readonly string[]): string[] {
  const cutter = new PieceCutter();
  return [...parts.flatMap((part) => [...cutter.add(part)]), ...cutter.end()];
}

test('pieces are the text, none is longer than it should be, and each but the first begins with white space after a word', () => {
  const word = fc.string({ minLength: 1, maxLength: 3000, unit: fc.constantFrom('a', 'é', '字', '.') });
  const space = fc.constantFrom(' ', '\n', '  ', '\n\n', '\t');
  fc.assert(
    fc.property(fc.array(fc.tuple(word, space), { minLength: 1, maxLength: 120 }), (words) => {
      const parts = words.map((both) => both.join(''));
      for (const pieces of [cut(parts), cut([parts.join('')])]) {
        expect(pieces.join('')).toBe(parts.join(''));
        for (const piece of pieces) expect(piece.length).toBeLessThanOrEqual(pieceChars);
        for (const piece of pieces.slice(1)) expect(piece).toMatch(/^\s/);
        for (const piece of pieces.slice(0, -1)) expect(piece).toMatch(/\S$/);
      }
    }),
    { numRuns: 60 },
  );
});

test('a word that is longer than a piece stays whole', () => {
  const long = 'a'.repeat(3 * pieceChars);
  expect(cut([`one ${long}`, `${long} two`])).toEqual(['one', ` ${long}${long}`, ' two']);
});
