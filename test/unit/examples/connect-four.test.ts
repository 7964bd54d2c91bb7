/** The game of examples/connect-four: its rules, the search with a network that knows nothing, and what a game's rows say. */
import { describe, expect, it } from 'vitest';
import type { CollectContext, Column } from '../../../src/job/dataset.js';
import {
  encode,
  isOver,
  mirror,
  moves,
  numColumns,
  play,
  start,
  type Position,
} from '../../../examples/connect-four/board.js';
import { numTargets, playItself, playOthers } from '../../../examples/connect-four/games.js';
import { minimaxPlayer, type Player } from '../../../examples/connect-four/players.js';
import { numOutputs, search, type Found } from '../../../examples/connect-four/search.js';

const after = (...columns: readonly number[]): Position => columns.reduce(play, start);
const notAtRandom = (): number => 0.5;
/** All columns are as good, and nobody is ahead. */
const knowsNothing = ({ shape: [numRows = 0] }: Column): Column => {
  return { data: new Float32Array(numRows * numOutputs), shape: [numRows, numOutputs] };
};

function searched(position: Position, numSimulations: number): Found {
  const [found] = search([position], { predict: knowsNothing, random: notAtRandom, numSimulations, width: 1 });
  if (!found) throw new Error('A position was searched, and nothing found.');
  return found;
}

function bestOf(position: Position, numSimulations: number): number {
  const { tried } = searched(position, numSimulations);
  return tried.indexOf(Math.max(...tried));
}

/** The first player wins with the last of these. */
const won: Record<string, readonly number[]> = {
  row: [0, 0, 1, 1, 2, 2, 3],
  column: [3, 0, 3, 0, 3, 0, 3],
  'rising diagonal': [0, 1, 1, 2, 2, 3, 2, 3, 3, 6, 3],
  'falling diagonal': [6, 5, 5, 4, 4, 3, 4, 3, 3, 0, 3],
};

describe('four in a row', () => {
  it.each(Object.entries(won))('wins as a %s, and three do not', (_, columns) => {
    expect(after(...columns)).toMatchObject({ isLost: true });
    expect(isOver(after(...columns.slice(0, -1)))).toBe(false);
    expect(mirror(after(...columns))).toEqual(after(...columns.map((column) => numColumns - 1 - column)));
  });

  it('does not go around the edge', () => {
    expect(isOver(after(4, 4, 5, 5, 6, 6, 0))).toBe(false);
  });

  it('leaves no room in a full column', () => {
    expect(moves(after(2, 2, 2, 2, 2, 2))).toEqual([0, 1, 3, 4, 5, 6]);
  });

  it('is seen by the network as who is to move has it', () => {
    const seen = new Float32Array(84);
    encode(after(0, 6), seen, 0);
    expect([seen[0], seen[1], seen[12], seen[13]]).toEqual([1, 0, 0, 1]);
  });
});

describe('a search that is told nothing', () => {
  it.each(Object.entries(won))('takes the win as a %s at once', (_, columns) => {
    expect(bestOf(after(...columns.slice(0, -1)), 1)).toBe(columns.at(-1));
  });

  it('takes from the other what would win, at once', () => {
    expect(bestOf(after(3, 0, 3, 0, 3), 1)).toBe(3);
  });

  it('knows what a win and a loss are worth, and of most positions nothing', () => {
    expect(searched(after(3, 0, 3, 0, 3, 0), 4).value).toBe(1);
    expect(searched(after(3, 3, 2, 2, 4), 4).value).toBeLessThan(-0.5); // a stone at either end wins
    expect(searched(start, 4).value).toBe(0);
  });

  it('goes different ways at once', () => {
    expect(searched(start, 4).tried.filter((share) => share > 0)).toHaveLength(4);
  });

  it('finds the stone after which there are two ways to win', () => {
    expect(bestOf(after(3, 3, 2, 2), 64)).toSatisfy((column: number) => [1, 4].includes(column));
  });
});

describe('games against others', () => {
  const context = (numRows: number): CollectContext => {
    let state = 7;
    const random = (): number => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647;
    return { step: 0, slot: 0, numRows, random, predict: knowsNothing };
  };
  const outcomes = (player: Player): number[] => {
    const { y } = playOthers([player])(context(8));
    return Array.from({ length: 8 }, (_, row) => y.data[row * numTargets + numOutputs] ?? NaN);
  };

  it('are won where the other fills one column after the other', () => {
    expect(outcomes((position) => moves(position)[0] ?? 0)).toEqual(Array.from({ length: 8 }, () => 1));
  });

  it('are lost where the other sees ahead and the search has no time to', () => {
    const blind = playOthers([minimaxPlayer(4)])({
      ...context(8),
      // It is sure of the first column, and that it wins.
      predict: ({ shape: [numRows = 0] }) => ({
        data: Float32Array.from({ length: numRows * numOutputs }, (_, i) => (i % numOutputs === 0 ? 50 : 0)),
        shape: [numRows, numOutputs],
      }),
    });
    const lost = Array.from({ length: 8 }, (_, row) => blind.y.data[row * numTargets + numOutputs] ?? NaN);
    expect(lost.filter((outcome) => outcome === -1).length).toBeGreaterThanOrEqual(6);
  });

  it('against itself, one of them, say of each move how it ended for who made it', () => {
    const numRows = 6;
    const { x, y } = playItself(context(numRows));
    const numbers = ({ data }: Column, row: number, length: number) =>
      Array.from(data.slice(row * length, (row + 1) * length));
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
    const outcomes = [0, 1].map((turn) => {
      const rows = Array.from({ length: numRows }, (_, row) => row).filter(
        (row) => sum(numbers(x, row, 84)) % 2 === turn,
      );
      for (const row of rows) {
        const said = numbers(y, row, numTargets);
        expect(sum(said.slice(0, numColumns))).toBeCloseTo(1, 5);
        const [worth = NaN, outcome = NaN] = said.slice(numColumns);
        expect(Math.abs(2 * worth - outcome)).toBeLessThan(1); // what the search found, which is sure of nothing
      }
      return new Set(rows.map((row) => numbers(y, row, numTargets)[numOutputs]));
    });
    expect(outcomes.map(({ size }) => size)).toEqual([1, 1]);
    expect(sum(outcomes.flatMap((values) => [...values].map(Number)))).toBe(0);
  });
});
