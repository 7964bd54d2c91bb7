/**
 * `npm run bench`: measures Lockstep beside its peers on this machine, prints one table, and writes a dated result with all
 * samples and the configuration. A quiet machine and some patience are all it needs.
 */
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { positiveInteger } from '../bin/options.js';
import { toLockstepError } from '../src/errors.js';
import { root } from './child.js';
import { findMachine } from './configuration.js';
import { PeerPython } from './python.js';
import { writeResult } from './result.js';
import { rowsOf, runSuite, type Row, type Sample, type Suite } from './suite.js';
import { allReduceSuites } from './suites/all-reduce.js';
import type { Context } from './suites/context.js';
import { gpt2Suites } from './suites/gpt2.js';
import { memorySuites } from './suites/memory.js';
import { peerSuites } from './suites/peers.js';
import { recoverySuites } from './suites/recovery.js';
import { scalingSuites } from './suites/scaling.js';
import { stepTimeSuites } from './suites/step-time.js';
import { stockSuites } from './suites/stock.js';
import { textTable } from './table.js';

/** By the names that `--only` takes, in the order of the table. */
const topics: Readonly<Record<string, (context: Context) => Suite[]>> = {
  allreduce: allReduceSuites,
  stock: stockSuites,
  training: peerSuites,
  scaling: scalingSuites,
  memory: memorySuites,
  steptime: stepTimeSuites,
  recovery: recoverySuites,
  gpt2: gpt2Suites,
};

interface Options {
  readonly only: readonly string[];
  readonly rounds: number;
  readonly seconds: number;
  readonly out: string;
}

function topicNames(list: string): string[] {
  const names = list.split(',');
  const unknown = names.find((name) => !Object.hasOwn(topics, name));
  if (unknown === undefined) return names;
  throw new InvalidArgumentError(`"${unknown}" is none of ${Object.keys(topics).join(', ')}.`);
}

const program = new Command('bench')
  .description('measure Lockstep beside its peers on this machine')
  .option('--only <list>', `some of ${Object.keys(topics).join(',')}`, topicNames, Object.keys(topics))
  .option('--rounds <n>', 'how often each side is measured, in turn', positiveInteger, 5)
  .option('--seconds <n>', 'how long each training is measured in a round', positiveInteger, 5)
  .option('--out <dir>', 'where the result goes', join(root, 'bench', 'results'))
  .parse();

const { only, rounds, seconds, out } = program.opts<Options>();
const say = (line: string): void => console.error(line);
const skipped = new Set<string>();
const skip = (why: string): void => {
  if (!skipped.has(why)) say(`skipped: ${why}`);
  skipped.add(why);
};
const python = new PeerPython({ say, skip });
const machine = await findMachine();
const suites = only.flatMap((name) => topics[name]?.({ python, seconds, skip }) ?? []);
const samples: Sample[] = [];
const rows: Row[] = [];
for (const suite of suites) {
  // What was measured in an hour is not lost with what fails in a minute.
  const onFailure = (side: string, error: unknown): void => {
    skip(`${suite.name}: ${side} failed: ${toLockstepError(error).message.trim().split('\n').at(-1) ?? ''}`);
    process.exitCode = 1;
  };
  const found = await runSuite(suite, { rounds, say, onFailure });
  samples.push(...found);
  rows.push(...rowsOf(suite, found));
}
const result = {
  date: new Date().toISOString(),
  configuration: { ...machine, peers: python.versions, rounds, seconds },
  rows,
  samples,
  skipped: [...skipped],
};
console.log(textTable(rows).join('\n'));
console.log(`\n${await writeResult(out, result)}`);
