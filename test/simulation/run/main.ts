/**
 * Simulates whole runs by command: `npm run simulate -- --schedules 100000 --seed 1`. What fails is shrunk, and told with all that
 * happened, and with the command that runs it again.
 */
import { parseArgs } from 'node:util';
import { check, traceOf } from './check.js';
import { families, type Family } from './schedule.js';

const { values } = parseArgs({
  options: {
    schedules: { type: 'string', default: '20000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    /** Of a schedule that failed with this seed. */
    path: { type: 'string' },
    family: { type: 'string', default: 'everything' },
  },
});

const perRound = 2_000;

function familyOf(name: string): Family {
  const found = Object.keys(families).find((family) => family === name);
  if (found === undefined) throw new Error(`There is no family ${name}: ${Object.keys(families).join(', ')}.`);
  return found as Family; // found among its keys
}

function runAll(numSchedules: number, firstSeed: number): void {
  const startedMs = performance.now();
  for (let numDone = 0, seed = firstSeed; numDone < numSchedules; seed++) {
    const numRuns = Math.min(perRound, numSchedules - numDone);
    const failure = check({ family: familyOf(values.family), seed, numRuns, path: values.path });
    if (failure) {
      const text = [JSON.stringify(failure.schedule, null, 2), ...traceOf(failure), failure.command];
      console.log(text.join('\n'));
      process.exitCode = 1;
      return;
    }
    numDone += numRuns;
    const perSecond = Math.round(numDone / ((performance.now() - startedMs) / 1000));
    console.log(`${numDone} of ${numSchedules} schedules hold, ${perSecond} per second (seed ${seed})`);
  }
}

runAll(values.path === undefined ? Number(values.schedules) : 1, Number(values.seed));
