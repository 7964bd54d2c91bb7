/** What a soak has come to: a JSON file, and a table for whoever waits. */
import type { Injection, RecoverySummary } from '../../src/run-summary.js';
import type { Round } from './plan.js';

export interface RoundReport extends Round {
  readonly seconds: number;
  readonly weightsSha256: string | null;
  readonly injected: readonly Injection[];
  readonly recoveries: readonly RecoverySummary[];
  /** What is wrong with it; none: it had the weights of the undisturbed run. */
  readonly failures: readonly string[];
  /** Of what it left, and how to have it again; null where nothing is wrong. */
  readonly kept: { readonly folder: string; readonly command: string } | null;
}

/** In milliseconds. */
export interface Times {
  readonly median: number;
  readonly p95: number;
  readonly max: number;
}

export interface Report {
  readonly startedAt: string;
  readonly seed: number;
  readonly minutes: number;
  readonly node: string;
  /** By word of `--chaos`: how many came, of how many that were planned. */
  readonly faults: Readonly<Record<string, { readonly planned: number; readonly came: number }>>;
  /** By kind. */
  readonly recoveries: Readonly<
    Record<string, { readonly count: number; readonly detectedMs: Times; readonly resumedMs: Times }>
  >;
  readonly numFailed: number;
  readonly rounds: readonly RoundReport[];
}

export function makeReport(
  about: Pick<Report, 'startedAt' | 'seed' | 'minutes' | 'node'>,
  rounds: readonly RoundReport[],
): Report {
  const planned = rounds.flatMap(({ faults }) => faults.map(({ kind }) => kind));
  const came = rounds.flatMap(({ injected }) => injected.map(({ fault }) => /^\w+/.exec(fault)?.[0] ?? fault));
  const recoveries = rounds.flatMap((round) => round.recoveries);
  const faults = [...new Set(planned)].toSorted().map((kind) => {
    const counts = { planned: countOf(kind, planned), came: countOf(kind, came) };
    return [kind, counts] as const;
  });
  const byKind = [...new Set(recoveries.map(({ kind }) => kind))].toSorted().map((kind) => {
    const those = recoveries.filter((recovery) => recovery.kind === kind);
    const detectedMs = timesOf(those.map((recovery) => recovery.detectedMs));
    const resumedMs = timesOf(those.map((recovery) => recovery.resumedMs));
    return [kind, { count: those.length, detectedMs, resumedMs }] as const;
  });
  return {
    ...about,
    faults: Object.fromEntries(faults),
    recoveries: Object.fromEntries(byKind),
    numFailed: rounds.filter(({ failures }) => failures.length > 0).length,
    rounds,
  };
}

/** The lines that a terminal gets. */
export function describe({ faults, recoveries, rounds, minutes, numFailed }: Report): string[] {
  const ms = ({ median, p95, max }: Times): string[] => [median, p95, max].map((value) => value.toFixed(0));
  const kinds = Object.entries(recoveries).map(([kind, { count, detectedMs, resumedMs }]) => {
    return [kind, String(count), ...ms(detectedMs), ...ms(resumedMs)];
  });
  const words = Object.entries(faults).map(([kind, { came, planned }]) => [kind, String(came), String(planned)]);
  const bad = rounds.filter(({ failures }) => failures.length > 0);
  return [
    ...table(['fault', 'came', 'planned'], words),
    '',
    ...table(['recovery', 'count', 'detected', 'p95', 'max', 'resumed', 'p95', 'max (ms)'], kinds),
    '',
    ...bad.flatMap(({ seed, failures, kept }) => [
      `seed ${seed}: ${failures.join('; ')}`,
      ...(kept ? [`  ${kept.folder}`, `  ${kept.command}`] : []),
    ]),
    `${rounds.length} rounds in ${minutes.toFixed(1)} minutes, ${numFailed === 0 ? 'all with the weights of the undisturbed run' : `${numFailed} of them failed`}`,
  ];
}

function table(heading: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const lines = [heading, ...rows];
  const widths = heading.map((_, column) => Math.max(...lines.map((cells) => cells[column]?.length ?? 0)));
  return lines.map((cells) =>
    cells.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join('  '),
  );
}

function countOf(kind: string, kinds: readonly string[]): number {
  return kinds.filter((one) => one === kind).length;
}

/** By nearest rank. */
function timesOf(values: readonly number[]): Times {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part: number): number => sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? NaN;
  return { median: at(0.5), p95: at(0.95), max: at(1) };
}
