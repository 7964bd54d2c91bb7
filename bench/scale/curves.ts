/** What docs/scale.md draws, as plain data: both axes logarithmic, one line for each way. */
import type { Results } from './report.js';
import type { Point } from './sweep.js';

export interface Curve {
  /** Of the file. */
  readonly name: string;
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly lines: readonly { readonly label: string; readonly points: readonly (readonly [number, number])[] }[];
}

const megabyte = 1e6;

export function curvesOf({ points, slowCard }: Pick<Results, 'points' | 'slowCard'>): Curve[] {
  const sizes = [...new Set(points.map(({ bytes }) => bytes))];
  const ofSize = (bytes: number): Point[] => points.filter((point) => point.bytes === bytes);
  const title = (what: string, bytes: number): string => `${what}, ${Math.round(bytes / megabyte)} MB of gradients`;
  const middle = sizes[Math.floor(sizes.length / 2)] ?? 0;
  const seconds = ({ seconds }: Point): number => seconds * 1e3;
  return [
    ...sizes.map((bytes, index) =>
      curve(`scale-time-${index}`, title('All-reduce', bytes), 'ms', ofSize(bytes), seconds),
    ),
    curve('scale-time-slow-card', title('All-reduce, cards of 10 Gbit/s', middle), 'ms', slowCard, seconds),
    curve(
      'scale-card',
      title('A card sends, and receives as much', middle),
      'MB',
      // One host sends nothing through its card: no place on a logarithmic axis.
      ofSize(middle).filter(({ cardBytes }) => cardBytes > 0),
      ({ cardBytes }) => cardBytes / megabyte,
    ),
    curve(
      'scale-memory',
      title('Memory of a worker', middle),
      'MB',
      ofSize(middle),
      ({ memory }) => memory.total / megabyte,
    ),
  ];
}

function curve(
  name: string,
  title: string,
  y: string,
  points: readonly Point[],
  valueOf: (point: Point) => number,
): Curve {
  const ways = [...new Set(points.map(({ way }) => way))];
  const lines = ways.map((way) => ({
    label: way,
    points: points.filter((point) => point.way === way).map((point) => [point.workers, valueOf(point)] as const),
  }));
  return { name, title, x: 'workers', y, lines };
}
