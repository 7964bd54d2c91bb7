/** Who the network is tried against. */
import { isOver, moves, numCells, numColumns, numRows, play, type Position } from './board.js';

/** Chooses a column. */
export type Player = (position: Position, random: () => number) => number;

export const randomPlayer: Player = (position, random) => pick(moves(position), random);

/** Looks so many moves ahead, and counts what could still become four in a row; among equals it draws lots. */
export function minimaxPlayer(depth: number): Player {
  return (position, random) => {
    const scored = moves(position).map((column) => ({ column, score: -valueOf(play(position, column), depth - 1) }));
    const highest = Math.max(...scored.map(({ score }) => score));
    return pick(
      scored.flatMap(({ column, score }) => (score === highest ? column : [])),
      random,
    );
  };
}

const won = 1e6;

/** For who is to move; what is won soon is worth more. */
function valueOf(position: Position, depth: number): number {
  if (position.isLost) return -won - depth;
  if (isOver(position)) return 0;
  if (depth === 0) return countLines(position);
  return Math.max(...moves(position).map((column) => -valueOf(play(position, column), depth - 1)));
}

/** Of each four cells in a row: how many own stones, where there is none of the other's, squared; less the other's. */
function countLines({ cells }: Position): number {
  return lines.reduce((sum, line) => {
    const own = line.filter((cell) => cells[cell] === 1).length;
    const others = line.filter((cell) => cells[cell] === -1).length;
    return own > 0 && others > 0 ? sum : sum + own ** 2 - others ** 2;
  }, 0);
}

/** The four cells of each possible four in a row. */
const lines = Array.from({ length: numCells }, (_, cell) => cell).flatMap((cell) => {
  const [row, column] = [Math.floor(cell / numColumns), cell % numColumns];
  const ways = [
    [0, 1],
    [1, 0],
    [1, 1],
    [1, -1],
  ] as const;
  return ways.flatMap(([up, right]) => {
    const [lastRow, lastColumn] = [row + 3 * up, column + 3 * right];
    if (lastRow >= numRows || lastColumn < 0 || lastColumn >= numColumns) return [];
    return [[0, 1, 2, 3].map((i) => cell + i * (up * numColumns + right))];
  });
});

function pick(columns: readonly number[], random: () => number): number {
  return columns[Math.floor(random() * columns.length)] ?? 0;
}
