/** The rows as people read them: in columns on a terminal, or as a table of Markdown. */
import type { Row } from './suite.js';

const heading = ['', 'ours', 'peer', 'ratio', 'spread', 'target', ''] as const;

export function textTable(rows: readonly Row[]): string[] {
  const lines = [heading, ...rows.map(cellsOf)];
  const widths = heading.map((_, column) => Math.max(...lines.map((cells) => (cells[column] ?? '').length)));
  return lines.map((cells) =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}

export function markdownTable(rows: readonly Row[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(heading), '|---|---|---|---|---|---|---|', ...rows.map((row) => line(cellsOf(row)))];
}

function cellsOf({ name, unit, ours, peer, peerName, ratio, spread, better, target, met }: Row): string[] {
  const bound = better === 'higher' || peer !== null ? '≥' : '≤';
  const times = peer === null ? '' : '×';
  return [
    name,
    `${round(ours)} ${unit}`,
    peer === null ? '' : `${round(peer)} (${peerName ?? ''})`,
    ratio === null ? '' : `${ratio.toFixed(2)}×`,
    peer === null ? `${round(spread.min)}–${round(spread.max)}` : `${spread.min.toFixed(2)}–${spread.max.toFixed(2)}×`,
    target === null ? '' : `${bound} ${target}${times}`,
    met === null ? '' : met ? 'ok' : 'below',
  ];
}

/** Three digits that count, and no more; thousands in groups. */
function round(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString('en-US', { maximumSignificantDigits: 3 });
}
