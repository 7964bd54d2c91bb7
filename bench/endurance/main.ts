/**
 * `npm run bench:endurance`: a run that loses and replaces workers hundreds of times, and what is alive in those that live through
 * it. Prints a table, and ends with exit code 1 where something grows. Docs: bench/README.md.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Command } from 'commander';
import { positiveInteger } from '../../bin/options.js';
import { root } from '../child.js';
import { findMachine } from '../configuration.js';
import { measureEndurance, type ProcessTrends } from './measure.js';
import { grows } from './trend.js';

const { warmup, recoveries, returns, sampleEvery, out } = new Command('bench:endurance')
  .description('lose and replace workers, and see whether memory, files, sockets or tensors grow')
  .option('--warmup <n>', 'workers that are lost and replaced before it counts', positiveInteger, 100)
  .option('--recoveries <n>', 'workers that are lost and replaced from then on', positiveInteger, 500)
  .option('--returns <n>', 'after that, coordinators that are killed and taken back', positiveInteger, 20)
  .option('--sample-every <n>', 'losses from one sample to the next', positiveInteger, 10)
  .option('--out <file>', 'gets what was found', join(root, 'bench', 'results', 'endurance.json'))
  .parse()
  .opts<{ warmup: number; recoveries: number; returns: number; sampleEvery: number; out: string }>();

const machine = await findMachine();
const say = (line: string): void => console.error(line);
const found = await measureEndurance({ warmup, recoveries, returns, sampleEvery, say });
for (const line of found.flatMap(linesOf)) console.log(line);
await mkdir(dirname(out), { recursive: true });
await writeFile(
  out,
  `${JSON.stringify({ date: new Date().toISOString(), machine, warmup, recoveries, returns, processes: found }, null, 1)}\n`,
);
if (found.some(({ trends, numUnits }) => trends.some((trend) => grows(trend, numUnits)))) process.exitCode = 1;

function linesOf({ process, units, numUnits, trends }: ProcessTrends): string[] {
  const lines = trends.map((trend) => {
    const { name, first, last, slope } = trend;
    const verdict = grows(trend, numUnits) ? 'GROWS' : 'flat';
    return `  ${name.padEnd(24)} ${format(first)} -> ${format(last)}, ${format(slope)} for each: ${verdict}`;
  });
  return [`${process}, over ${numUnits} ${units}:`, ...lines];
}

function format(value: number): string {
  return Number(value.toPrecision(4)).toLocaleString('en-US');
}
