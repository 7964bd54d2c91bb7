/** Figures as people read them: tables of Markdown, which are the terminal's too, and their places in docs/scale.md. */
import { formatSize } from '../../bin/byte-size.js';
import { assert } from '../../src/errors.js';
import type { Calibration, Comparison } from './calibration.js';
import type { Network } from './network.js';
import type { Change, Point } from './sweep.js';

/** All that the page shows. */
export interface Results {
  readonly network: Network;
  readonly calibration: Calibration | null;
  readonly points: readonly Point[];
  /** With cards of 10 Gbit/s. */
  readonly slowCard: readonly Point[];
  /** Larger buckets, and ten thousand workers. */
  readonly further: readonly Point[];
  readonly changes: readonly Change[];
  readonly stragglers: readonly Stragglers[];
}

export interface Stragglers {
  readonly workers: number;
  /** Deviation of one worker's compute time, as a share of it. */
  readonly jitter: number;
  /** How much longer than one worker the slowest of all computes, as a share. */
  readonly slowest: number;
}

const pointHeading = [
  'gradients',
  'workers',
  'way',
  'bucket',
  'time',
  'formula',
  'card, each way',
  'card busy',
  'thread busy',
  'frames',
  'chunk, bytes',
];

export function pointTable(points: readonly Point[]): string {
  const rows = points.map((point) => [
    formatSize(point.bytes),
    count(point.workers),
    point.way,
    formatSize(point.bucketBytes),
    time(point.seconds),
    time(point.formulaSeconds),
    megabytes(point.cardBytes),
    percent(point.cardBusy),
    percent(point.threadBusy),
    count(point.frames),
    count(Math.round(point.chunkBytes)),
  ]);
  return table(pointHeading, rows);
}

export function calibrationTable({ fitted, predicted }: Calibration): string {
  const row = (kind: string, { workers, bytes, microseconds, simulatedMicroseconds, error }: Comparison): string[] => [
    count(workers),
    formatSize(bytes),
    time(microseconds / 1e6),
    time(simulatedMicroseconds / 1e6),
    signedPercent(error),
    kind,
  ];
  const rows = [...fitted.map((one) => row('fitted', one)), ...predicted.map((one) => row('predicted', one))];
  return table(['workers', 'gradients', 'measured', 'simulated', 'error', ''], rows);
}

/** The page with every part between `<!-- name -->` and `<!-- /name -->` made anew. */
export function renderPage(page: string, results: Results): string {
  const parts = {
    network: networkTable(results.network),
    calibration: results.calibration ? calibrationTable(results.calibration) : 'Not measured yet.',
    points: pointTable(shown(results.points)),
    'slow-card': pointTable(shown(results.slowCard)),
    memory: memoryTable(shown(results.points).filter(({ way }) => way !== 'mapped')),
    further: pointTable(results.further),
    changes: changeTable(results.changes),
    stragglers: stragglerTable(results.stragglers),
  };
  return Object.entries(parts).reduce((text, [name, part]) => replacePart(text, name, part), page);
}

/** Of the middle size, some numbers of workers. */
function shown(points: readonly Point[]): Point[] {
  const sizes = [...new Set(points.map(({ bytes }) => bytes))];
  const middle = sizes[Math.floor(sizes.length / 2)];
  return points.filter(({ bytes, workers }) => bytes === middle && [8, 64, 256, 1024].includes(workers));
}

function memoryTable(points: readonly Point[]): string {
  const rows = points.map(({ workers, way, memory }) => [
    count(workers),
    way,
    ...[memory.parameters, memory.moments, memory.gradients, memory.inboxes, memory.other, memory.total].map(megabytes),
  ]);
  const heading = ['workers', 'way', 'parameters', 'moments', 'gradients', 'from and for peers', 'other', 'all'];
  return table(heading, rows);
}

function replacePart(page: string, name: string, part: string): string {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  assert(from >= 0 && to > from, `the page has a part between ${begin} and ${end}`);
  return `${page.slice(0, from + begin.length)}\n\n${part}\n\n${page.slice(to)}`;
}

function networkTable(network: Network): string {
  const { costs } = network;
  return table(
    ['what', 'value', 'option'],
    [
      [
        'workers of one host, and cores for their comm threads',
        `${network.workersPerHost}, ${network.coresPerHost}`,
        '`--gpus-per-host`, `--cores`',
      ],
      ['card of a host, each way, without packet headers', gigabytes(network.cardBytesPerSecond), '`--bandwidth`'],
      ['latency between hosts, one way', time(network.latencySeconds), '`--latency`'],
      ['latency inside a host', time(network.localLatencySeconds), ''],
      ['copying through sockets, all workers of a host together', gigabytes(network.busBytesPerSecond), ''],
      ['comm thread, waking up', time(costs.wakeSeconds), '`--measured`'],
      ['comm thread, each frame sent or received', time(costs.frameSeconds), '`--measured`'],
      ['comm thread, each byte sent or received', gigabytes(1 / costs.byteSeconds), '`--measured`'],
      ['adding partials', gigabytes(1 / costs.sumByteSeconds), ''],
      ['Adam', gigabytes(1 / costs.applyByteSeconds), ''],
    ],
  );
}

function changeTable(changes: readonly Change[]): string {
  const rows = changes.map(({ workers, bucketBytes, levels, localPayload, seconds, frames }) => [
    count(workers),
    formatSize(bucketBytes),
    levels,
    localPayload,
    time(seconds),
    count(frames),
  ]);
  return table(['workers', 'bucket', 'frames inside a host', 'bytes inside a host', 'time', 'frames'], rows);
}

function stragglerTable(stragglers: readonly Stragglers[]): string {
  const rows = stragglers.map(({ workers, jitter, slowest }) => [
    count(workers),
    percent(jitter),
    signedPercent(slowest),
  ]);
  return table(['workers', 'deviation of one', 'slowest of all'], rows);
}

function table(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [heading, ...rows];
  const widths = heading.map((_, column) => Math.max(3, ...lines.map((cells) => cells[column]?.length ?? 0)));
  const text = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  return [text(heading), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...rows.map(text)].join('\n');
}

function time(seconds: number): string {
  if (seconds >= 1) return `${seconds.toFixed(2)} s`;
  return seconds >= 1e-3 ? `${(seconds * 1e3).toFixed(seconds >= 0.1 ? 0 : 1)} ms` : `${(seconds * 1e6).toFixed(0)} µs`;
}

const megabytes = (bytes: number): string => `${count(Math.round(bytes / 1e6))} MB`;
const gigabytes = (bytesPerSecond: number): string => `${(bytesPerSecond / 1e9).toFixed(2)} GB/s`;
const count = (value: number): string => value.toLocaleString('en-US');
const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;
const signedPercent = (share: number): string => `${share < 0 ? '−' : '+'}${Math.abs(share * 100).toFixed(1)} %`;
