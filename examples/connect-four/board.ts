/** Connect Four: 7 columns of 6, and whoever has four in a row first wins. */
export const numColumns = 7;
export const numRows = 6;
export const numCells = numColumns * numRows;

/** A position as the player sees it who is to move: 1 for an own stone, -1 for one of the other's, 0 for none. */
export interface Position {
  /** Row by row from the bottom, [numRows, numColumns]. */
  readonly cells: Int8Array;
  /** Stones in each column. */
  readonly heights: Uint8Array;
  readonly numStones: number;
  /** The other has four in a row: whoever is to move has lost. */
  readonly isLost: boolean;
}

export const start: Position = {
  cells: new Int8Array(numCells),
  heights: new Uint8Array(numColumns),
  numStones: 0,
  isLost: false,
};

export function isOver({ isLost, numStones }: Position): boolean {
  return isLost || numStones === numCells;
}

/** Columns that have room. */
export function moves({ heights }: Position): number[] {
  return columns.filter((column) => (heights[column] ?? 0) < numRows);
}

const columns = Array.from({ length: numColumns }, (_, column) => column);

/** After the player's stone in a column, as the other sees it. */
export function play({ cells, heights, numStones }: Position, column: number): Position {
  const row = heights[column] ?? 0;
  const next = cells.map((stone) => -stone);
  next[row * numColumns + column] = -1;
  const higher = heights.slice();
  higher[column] = row + 1;
  return { cells: next, heights: higher, numStones: numStones + 1, isLost: winsAt({ cells, heights }, column, 1) };
}

/** Whether a stone there makes four in a row for who is to move (1), or for the other (-1). */
export function winsAt({ cells, heights }: Pick<Position, 'cells' | 'heights'>, column: number, side: 1 | -1): boolean {
  const row = heights[column] ?? 0;
  const own = (up: number, right: number): number => {
    let length = 0;
    for (let r = row + up, c = column + right; isOn(r, c) && cells[r * numColumns + c] === side; r += up, c += right) {
      length++;
    }
    return length;
  };
  return directions.some(([up, right]) => own(up, right) + own(-up, -right) >= 3);
}

const directions = [
  [0, 1],
  [1, 0],
  [1, 1],
  [1, -1],
] as const;

function isOn(row: number, column: number): boolean {
  return row >= 0 && row < numRows && column >= 0 && column < numColumns;
}

/** What the network sees: own stones and the other's, [numRows, numColumns, 2], into `target` at `offset`. */
export function encode({ cells }: Position, target: Float32Array, offset: number): void {
  for (let cell = 0; cell < numCells; cell++) {
    target[offset + cell * 2] = cells[cell] === 1 ? 1 : 0;
    target[offset + cell * 2 + 1] = cells[cell] === -1 ? 1 : 0;
  }
}

/** Left and right exchanged: just as good a position. */
export function mirror({ cells, heights, ...rest }: Position): Position {
  const mirrored = cells.map(
    (_, cell) => cells[cell - (cell % numColumns) + numColumns - 1 - (cell % numColumns)] ?? 0,
  );
  return { ...rest, cells: mirrored, heights: heights.toReversed() };
}
