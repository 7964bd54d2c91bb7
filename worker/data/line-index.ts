/** The line of each row of a text file, kept as the few rows where the distance between row and line changes. */

/** From `row` on (counted from 0), a row's line (counted from 1) is row + `distance`. */
export type LineJump = readonly [row: number, distance: number];

export class LineIndex {
  readonly jumps: LineJump[];

  constructor(jumps: readonly LineJump[] = []) {
    this.jumps = [...jumps];
  }

  /** Rows come in order. */
  add(row: number, line: number): void {
    if (this.jumps.at(-1)?.[1] !== line - row) this.jumps.push([row, line - row]);
  }

  lineOf(row: number): number {
    const jump = this.jumps.findLast(([firstRow]) => firstRow <= row);
    return row + (jump?.[1] ?? 1);
  }
}
