/**
 * `npm run soak -- --minutes 30`: runs in real processes, one after the other, each with faults by chance, and each to end with
 * the weights of the run that has none. Ends with exit code 1 where one does not. Docs: docs/fault-testing.md.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { root } from '../../bench/child.js';
import { positiveInteger } from '../../bin/options.js';
import { planRound, slots, type Round } from './plan.js';
import { describe, makeReport, type RoundReport } from './report.js';
import { argsOf, runRound } from './round.js';

const timeoutMs = 300_000;

function numWorkers(text: string): number {
  const number = positiveInteger(text);
  if (number > slots) throw new InvalidArgumentError(`There are ${slots} slots, and each worker needs one.`);
  return number;
}

const startedAt = new Date().toISOString();
const program = new Command('soak')
  .description('runs with random faults, whose weights have to be those of a run without')
  .option('--minutes <n>', 'no round begins after so long', positiveInteger, 30)
  .option('--rounds <n>', 'no more rounds than that', positiveInteger, Infinity)
  .option(
    '--seed <n>',
    'of the first round; the next ones have the numbers after it',
    positiveInteger,
    Date.now() % 2 ** 31,
  )
  .option('--workers <n>', 'a round has so many at most when it begins', numWorkers, 3)
  .option(
    '--out <dir>',
    'gets the report, and what failed rounds leave',
    join(root, 'runs', `soak-${startedAt.replaceAll(':', '')}`),
  )
  .parse();

interface Options {
  readonly minutes: number;
  readonly rounds: number;
  readonly seed: number;
  readonly workers: number;
  readonly out: string;
}

const { minutes, rounds, seed: firstSeed, workers, out } = program.opts<Options>();
const interrupted = new AbortController();
// Each time: npm passes on a Ctrl-C that has come here already.
process.on('SIGINT', () => {
  interrupted.abort();
});
const { signal } = interrupted;
const isInterrupted = (): boolean => signal.aborted;

/** By job and fields: the weights do not depend on the number of workers. */
const undisturbed = new Map<string, string>();

async function weightsWithout(round: Round): Promise<string> {
  const plain: Round = { ...round, workers: 1, faults: [] };
  const key = argsOf(plain).join(' ');
  const known = undisturbed.get(key);
  if (known !== undefined) return known;
  const folder = join(out, 'undisturbed');
  const { summary, failure } = await runRound(plain, { folder, timeoutMs, signal });
  const weightsSha256 = summary?.weightsSha256;
  if (failure !== null || !weightsSha256) throw new Error(`The run without faults failed: ${failure ?? 'no weights'}`);
  undisturbed.set(key, weightsSha256);
  rmSync(folder, { recursive: true });
  return weightsSha256;
}

async function play(round: Round): Promise<RoundReport> {
  const expected = await weightsWithout(round);
  const folder = join(out, `seed-${round.seed}`);
  const startedMs = performance.now();
  const { summary, failure, leftOver } = await runRound(round, { folder, timeoutMs, signal });
  const found = summary?.weightsSha256 ?? null;
  const failures = [
    ...(failure === null ? [] : [failure]),
    ...(failure === null && found !== expected ? [`weights ${String(found)}, and ${expected} without faults`] : []),
    ...leftOver.map((command) => `it has left a process: ${command}`),
  ];
  if (failures.length === 0) rmSync(folder, { recursive: true });
  const again = `npm run soak -- --seed ${round.seed} --rounds 1 --workers ${workers}`;
  return {
    ...round,
    seconds: (performance.now() - startedMs) / 1_000,
    weightsSha256: found,
    injected: summary?.injected ?? [],
    recoveries: summary?.recoveries ?? [],
    failures,
    kept: failures.length === 0 ? null : { folder: relative(root, folder), command: again },
  };
}

function tell({ seed, seconds, injected, recoveries, failures, workers: began, faults }: RoundReport): void {
  const how = failures.length === 0 ? 'same weights' : failures.join('; ');
  const came = `${injected.length} of ${faults.length} faults, ${recoveries.length} recoveries`;
  console.log(`seed ${seed}: ${began} workers, ${came}, ${seconds.toFixed(0)} s: ${how}`);
}

mkdirSync(out, { recursive: true });
const startedMs = performance.now();
const minutesGone = (): number => (performance.now() - startedMs) / 60_000;
const played: RoundReport[] = [];

async function playAll(): Promise<void> {
  while (!isInterrupted() && played.length < rounds && minutesGone() < minutes) {
    const report = await play(planRound(firstSeed + played.length, workers));
    if (isInterrupted()) return; // it was ended, which says nothing
    played.push(report);
    tell(report);
  }
}

function conclude(): void {
  const about = { startedAt, seed: firstSeed, minutes: minutesGone(), node: process.version };
  const report = makeReport(about, played);
  writeFileSync(join(out, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
  console.log(['', ...describe(report), relative(root, join(out, 'report.json'))].join('\n'));
  process.exitCode = report.numFailed === 0 ? 0 : 1;
}

try {
  await playAll();
} catch (error) {
  if (!isInterrupted()) throw error; // else it is the run without faults that was ended
} finally {
  conclude();
}
