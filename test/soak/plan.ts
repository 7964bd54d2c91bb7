/** What happens in each round of a soak: a function of its seed, so that a round can be had again. */
import { uniformNumbers } from '../../bench/scale/random.js';
import { chaos, type Fault } from '../../src/chaos/faults.js';

export interface Round {
  readonly seed: number;
  readonly job: string;
  /** Fields of the job that are to be others. */
  readonly set: Readonly<Record<string, string | number>>;
  readonly workers: number;
  readonly steps: number;
  /** In the order of their steps. */
  readonly faults: readonly Fault[];
}

/** Also the most workers that a round can have. */
export const slots = 4;

/** Long enough for workers to be replaced in the midst of it. */
const jobs: readonly Pick<Round, 'job' | 'set' | 'steps'>[] = [
  { job: 'examples/digits/job.ts', set: { epochs: 1_000 }, steps: 900 },
  { job: 'examples/digits/job.ts', set: { epochs: 1_000, wire: 'bfloat16' }, steps: 900 },
  { job: 'test/e2e/fixtures/noisy-points.ts', set: { epochs: 1_000, checkpointEverySteps: 7 }, steps: 1_500 },
];

type Kind = Fault['kind'];

/** How often each comes, beside the others. */
const kinds: readonly Kind[] = [
  ...(['kill', 'kill', 'kill', 'stop', 'stop', 'partition', 'partition'] as const),
  ...(['delay', 'join', 'coordinator'] as const),
];

/** Every step has it from then on, so that it is not long. */
const maxDelayMs = 20;
const maxFaults = 8;
const firstStep = 5;

export function planRound(seed: number, maxWorkers: number): Round {
  const random = uniformNumbers(seed);
  const below = (end: number): number => Math.floor(random() * end);
  const job = pick(jobs, random);
  const workers = 1 + below(maxWorkers);
  const lastStep = job.steps * 0.8;
  const steps = Array.from({ length: 1 + below(maxFaults) }, () => firstStep + below(lastStep));
  let numWanted = workers;
  const faults = [...new Set(steps)]
    .toSorted((a, b) => a - b)
    .map((step): Fault => {
      const kind = pick(kinds, random);
      const at = { rank: below(numWanted), step };
      if (kind === 'delay') return chaos.delay({ ...at, delayMs: 1 + below(maxDelayMs) });
      if (kind === 'coordinator') return chaos.coordinator({ step });
      if (kind !== 'join') return chaos[kind](at);
      if (numWanted === slots) return chaos.kill(at);
      numWanted++;
      return chaos.join({ step });
    });
  return { ...job, set: { slots, threads: 1, ...job.set }, seed, workers, faults };
}

function pick<T>(choices: readonly T[], random: () => number): T {
  const choice = choices[Math.floor(random() * choices.length)];
  if (choice === undefined) throw new Error('there is nothing to choose from');
  return choice;
}
