/** `lockstep bench recovery`: how long a run takes to go on when a process of it dies or hangs. */
import { Command, Option } from 'commander';
import { LockstepError } from '../../src/errors.js';
import { measureCoordinatorAway } from '../bench/coordinator-away.js';
import { quantile } from '../bench/quantiles.js';
import { measureRecoveries } from '../bench/recovery.js';
import type { RecoveryTimes } from '../bench/recovery-times.js';
import { positiveInteger } from '../options.js';

interface RecoveryCommandOptions {
  readonly workers: string;
  readonly fault: 'kill' | 'stop' | 'coordinator';
  readonly times: number;
  readonly away: number;
  readonly json: boolean;
}

const parts = ['noticed', 'formed', 'started', 'begun', 'recomputed', 'committed'] as const;

export function recoveryCommand(): Command {
  return new Command('recovery')
    .description('kill workers of a run on this machine, and see how long it takes to go on')
    .option('--workers <list>', 'workers of the run, at least 2; one measurement for each number', '2,3,4')
    .addOption(
      new Option('--fault <kind>', 'a worker gets SIGKILL, or SIGSTOP, or the coordinator is killed and started again')
        .choices(['kill', 'stop', 'coordinator'])
        .default('kill'),
    )
    .option('--times <n>', 'faults, one after the other', positiveInteger, 30)
    .option('--away <seconds>', 'how long there is no coordinator', positiveInteger, 10)
    .option('--json', 'a JSON object for each number of workers on stdout', false)
    .action(benchRecovery);
}

async function benchRecovery({ workers, fault, times, away, json }: RecoveryCommandOptions): Promise<void> {
  for (const numWorkers of readNumbers(workers)) {
    const line =
      fault === 'coordinator'
        ? await coordinatorLine(numWorkers, times, away, json)
        : await workerLine(numWorkers, fault, times, json);
    process.stdout.write(`${line}\n`);
  }
}

/** All of them before anything is measured, so that a mistake costs no time. */
function readNumbers(list: string): number[] {
  return list.split(',').map((text) => {
    const number = Number(text);
    if (Number.isSafeInteger(number) && number >= 2) return number;
    throw new LockstepError('ERR_USAGE', `--workers: "${text}" is no number of workers from 2 on, such as 2,3,4.`);
  });
}

async function workerLine(numWorkers: number, fault: 'kill' | 'stop', times: number, json: boolean): Promise<string> {
  const signal = fault === 'kill' ? 'SIGKILL' : 'SIGSTOP';
  const recoveries = await measureRecoveries({ numWorkers, signal, times });
  const of = (part: keyof RecoveryTimes) => recoveries.map((recovery) => recovery[part]);
  const figures = (values: readonly number[]) => ({
    median: ms(quantile(values, 0.5)),
    p95: ms(quantile(values, 0.95)),
  });
  const total = figures(of('total'));
  const less = figures(of('less'));
  const medians = Object.fromEntries(parts.map((part) => [part, ms(quantile(of(part), 0.5))]));
  if (json) return JSON.stringify({ workers: numWorkers, fault: signal, times, total, less, parts: medians });
  return [
    `${numWorkers} workers, ${times} times ${signal}, milliseconds to the next committed step (median, 95th percentile):`,
    `  with the recomputation    ${total.median}, ${total.p95}`,
    `  without                   ${less.median}, ${less.p95}`,
    `  of which, medians         ${parts.map((part) => `${part} ${medians[part] ?? NaN}`).join(', ')}`,
  ].join('\n');
}

async function coordinatorLine(numWorkers: number, times: number, seconds: number, json: boolean): Promise<string> {
  const rounds = await measureCoordinatorAway({ numWorkers, seconds, times });
  const median = (when: 'before' | 'away' | 'after') =>
    round(
      quantile(
        rounds.map((rates) => rates[when]),
        0.5,
      ),
    );
  const stepsPerSecond = { before: median('before'), away: median('away'), after: median('after') };
  if (json) return JSON.stringify({ workers: numWorkers, fault: 'coordinator', times, seconds, stepsPerSecond });
  const { before, away, after } = stepsPerSecond;
  const what = `${numWorkers} workers, ${times} times without a coordinator for ${seconds} s`;
  return `${what}: ${before} steps/s before, ${away} meanwhile, ${after} after`;
}

const ms = (value: number): number => Math.round(value * 10) / 10;
const round = (value: number): number => Number(value.toPrecision(4));
