/** Steps per second before the coordinator is killed, while there is none, and when it is back. */
import { setTimeout as delay } from 'node:timers/promises';
import { TestedRun, type Mark } from './tested-run.js';

export interface AwayOptions {
  readonly numWorkers: number;
  /** How long there is no coordinator, and how long is measured before and after; and how long the run is left to itself first. */
  readonly seconds: number;
  readonly times: number;
  readonly onRound?: (rates: StepRates) => void;
}

/** Steps per second. */
export interface StepRates {
  readonly before: number;
  readonly away: number;
  readonly after: number;
}

/** For workers to tell what they have kept for it: steps of the time without one, which are written down one message after the other. */
const tellingMs = 2000;

export async function measureCoordinatorAway({
  numWorkers,
  seconds,
  times,
  onRound,
}: AwayOptions): Promise<StepRates[]> {
  const run = await TestedRun.start(numWorkers);
  try {
    // A processor that has been idle is faster for some seconds.
    await delay(seconds * 1000);
    const measured: StepRates[] = [];
    while (measured.length < times) {
      const rates = await measureRound(run, seconds * 1000);
      measured.push(rates);
      onRound?.(rates);
    }
    return measured;
  } finally {
    await run.close();
  }
}

async function measureRound(run: TestedRun, ms: number): Promise<StepRates> {
  const marks = [await run.nextMark()];
  const pass = async (): Promise<void> => {
    await delay(ms);
    marks.push(await run.nextMark());
  };
  await pass();
  await run.killCoordinator();
  await delay(ms);
  await run.restartCoordinator();
  await delay(tellingMs);
  marks.push(await run.nextMark());
  await pass();
  const [before = NaN, away = NaN, after = NaN] = marks.slice(1).map((mark, index) => rate(marks[index], mark));
  return { before, away, after };
}

function rate(from: Mark | undefined, to: Mark): number {
  return ((to.step - (from?.step ?? NaN)) / (to.atMs - (from?.atMs ?? NaN))) * 1000;
}
