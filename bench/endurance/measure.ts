/** Takes a run through so many recoveries, and says whether anything grows with them. */
import { EnduranceRun, type Samples } from './endurance-run.js';
import type { Sample } from './observed-process.js';
import { trendsOf, type Trend } from './trend.js';

export interface EnduranceOptions {
  /** Workers that are lost and replaced before the first sample: until V8 and the allocators have what they keep. */
  readonly warmup: number;
  /** Workers that are lost and replaced from then on. */
  readonly recoveries: number;
  /** After that, coordinators that are killed and taken back. */
  readonly returns: number;
  /** Losses from one sample to the next. */
  readonly sampleEvery: number;
  readonly say: (line: string) => void;
}

export interface ProcessTrends {
  readonly process: string;
  /** What it went through. */
  readonly units: 'recoveries' | 'returns';
  readonly numUnits: number;
  readonly trends: readonly Trend[];
  /** What they are of, by the number of units at which each was taken. */
  readonly at: readonly number[];
  readonly samples: readonly Sample[];
}

/** Two at a time. */
const perRound = 2;

export async function measureEndurance({
  warmup,
  recoveries,
  returns,
  sampleEvery,
  say,
}: EnduranceOptions): Promise<ProcessTrends[]> {
  const run = await EnduranceRun.start();
  try {
    const lost = new Series();
    const all = warmup + recoveries;
    for (let round = 1, numLost = 0; numLost < all; round++) {
      await run.loseTwo(round % 10 === 5 ? 'stopped' : 'killed', round % 5 === 0 ? 'left' : 'killed');
      numLost += perRound;
      const isSampled = numLost % sampleEvery < perRound || numLost >= all;
      if (!isSampled) continue;
      if (numLost >= warmup) lost.add(numLost - warmup, await run.sample());
      say(`${numLost} of ${all} workers lost and replaced`);
    }
    const returned = new Series();
    for (let number = 1; number <= returns; number++) {
      await run.loseCoordinator();
      returned.add(number, await run.sample());
      say(`${number} of ${returns} coordinators lost and back`);
    }
    await run.end();
    return [
      ...lost.trends('recoveries', ['coordinator', 'a', 'z']),
      ...(returns > 0 ? returned.trends('returns', ['a', 'z']) : []),
    ];
  } finally {
    await run.close();
  }
}

class Series {
  readonly #at: number[] = [];
  readonly #samples: Samples[] = [];

  add(at: number, samples: Samples): void {
    this.#at.push(at);
    this.#samples.push(samples);
  }

  trends(units: ProcessTrends['units'], processes: readonly string[]): ProcessTrends[] {
    return processes.map((process) => {
      const samples = this.#samples.map((sample) => sample[process] ?? {});
      const numbers = { at: this.#at, samples };
      return { process, units, numUnits: this.#at.at(-1) ?? 0, trends: trendsOf(samples, this.#at), ...numbers };
    });
  }
}
