/**
 * A suite: sides that are measured in turn, A B A B …, so that what else happens on the machine meets both, and the rows
 * of the table that follow from their samples.
 */
import { median, spread, type Spread } from './statistics.js';

/** Figures of one measurement, by name. */
export type Figures = Readonly<Record<string, number>>;

/** One thing to measure, such as Gloo's all-reduce. */
export interface Side {
  readonly name: string;
  /** Null: it cannot be had here; `skip` has been told why. */
  measure(): Promise<Figures | null>;
}

/** Which figure of which side. */
export interface FigureOf {
  readonly side: string;
  readonly figure: string;
}

export interface RowPlan {
  readonly name: string;
  readonly unit: string;
  readonly ours: FigureOf;
  /** Null: the target is for our figure itself. */
  readonly peer: FigureOf | null;
  readonly better: 'higher' | 'lower';
  /** Of the ratio (how many times better than the peer), or of our figure where there is no peer; null: none. */
  readonly target: number | null;
}

export interface Suite {
  readonly name: string;
  readonly sides: readonly Side[];
  /** For what hardly varies and takes long. @default as many as are asked for */
  readonly maxRounds?: number;
  readonly rows: readonly RowPlan[];
}

/** What one side gave in one round. */
export interface Sample {
  readonly suite: string;
  readonly side: string;
  readonly round: number;
  readonly figures: Figures;
}

/** A row of the table. Figures are medians over the rounds. */
export interface Row {
  readonly suite: string;
  readonly name: string;
  readonly unit: string;
  readonly ours: number;
  readonly peer: number | null;
  readonly peerName: string | null;
  /** How many times better than the peer: of the medians. */
  readonly ratio: number | null;
  /** Of the ratios of the rounds; of our figure where there is no peer. */
  readonly spread: Spread;
  readonly better: 'higher' | 'lower';
  readonly target: number | null;
  /** Null without a target. */
  readonly met: boolean | null;
}

export interface RunOptions {
  readonly rounds: number;
  readonly say: (line: string) => void;
  /** Told of a side that fails, which is not measured again. */
  readonly onFailure: (side: string, error: unknown) => void;
}

/** Measures every side once in each round. */
export async function runSuite(suite: Suite, options: RunOptions): Promise<Sample[]> {
  const { say } = options;
  const rounds = Math.min(options.rounds, suite.maxRounds ?? Infinity);
  const samples: Sample[] = [];
  const missing = new Set<Side>();
  for (let round = 1; round <= rounds; round++) {
    for (const side of suite.sides.filter((one) => !missing.has(one))) {
      const figures = await side.measure().catch((error: unknown) => {
        options.onFailure(side.name, error);
        return null;
      });
      if (figures === null) {
        missing.add(side);
        continue;
      }
      samples.push({ suite: suite.name, side: side.name, round, figures });
      say(`${suite.name}, round ${round} of ${rounds}: ${side.name} ${describe(figures)}`);
    }
  }
  return samples;
}

/** The rows of a suite for which there are samples. */
export function rowsOf({ name: suite, rows }: Suite, samples: readonly Sample[]): Row[] {
  const values = ({ side, figure }: FigureOf): number[] =>
    samples.flatMap((sample) => (sample.side === side ? (sample.figures[figure] ?? []) : []));
  return rows.flatMap((plan) => {
    const ours = values(plan.ours);
    const peer = plan.peer ? values(plan.peer) : null;
    if (ours.length === 0 || peer?.length === 0) return [];
    return [rowOf(suite, plan, ours, peer)];
  });
}

function rowOf(suite: string, plan: RowPlan, ours: readonly number[], peer: readonly number[] | null): Row {
  const { name, unit, better, target } = plan;
  const timesBetter = (own: number, other: number): number => (better === 'higher' ? own / other : other / own);
  const ratio = peer && timesBetter(median(ours), median(peer));
  const rounds = peer ? ours.flatMap((own, round) => timesBetter(own, peer[round] ?? NaN)) : ours;
  return {
    suite,
    name,
    unit,
    ours: median(ours),
    peer: peer && median(peer),
    peerName: plan.peer?.side ?? null,
    ratio,
    spread: spread(rounds),
    better,
    target,
    met: target === null ? null : meets(ratio ?? median(ours), target, peer ? 'higher' : better),
  };
}

function meets(value: number, target: number, better: 'higher' | 'lower'): boolean {
  return better === 'higher' ? value >= target : value <= target;
}

function describe(figures: Figures): string {
  return Object.entries(figures)
    .map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`)
    .join(', ');
}
