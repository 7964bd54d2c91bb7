/** `lockstep bench`: how fast this machine does what a run does. */
import { Command } from 'commander';
import { LockstepError } from '../../src/errors.js';
import { measureAllReduce, type AllReduceMeasurement } from '../../worker/bench/all-reduce.js';
import { formatSize, parseSize } from '../byte-size.js';
import { textLog } from '../log.js';
import { positiveInteger } from '../options.js';
import { recoveryCommand } from './bench-recovery.js';

interface AllReduceOptions {
  readonly workers: number;
  readonly sizes: string;
  readonly tcp: boolean;
  readonly json: boolean;
}

const defaultSizes = '256,16KiB,256KiB,1MiB,4MiB,16MiB,64MiB';

/** A float32. */
const smallestBytes = 4;
const largestBytes = 2 ** 30;

export function benchCommand(): Command {
  const command = new Command('bench').description('measure how fast this machine does what a run does');
  command
    .command('allreduce')
    .description('all-reduce float32 between processes of this machine, through the code of a run')
    .option('--workers <n>', 'processes, at least 2', positiveInteger, 2)
    .option('--sizes <list>', 'bytes to reduce, such as 256,1MiB,64MiB', defaultSizes)
    .option('--tcp', 'through loopback TCP, as between hosts, instead of Unix sockets', false)
    .option('--json', 'a JSON object for each size on stdout', false)
    .action(benchAllReduce);
  command.addCommand(recoveryCommand());
  return command;
}

async function benchAllReduce({ workers, sizes, tcp, json }: AllReduceOptions): Promise<void> {
  const bytes = readSizes(sizes);
  if (workers < 2) {
    throw new LockstepError('ERR_USAGE', `--workers ${workers}: an all-reduce takes at least 2 workers.`);
  }
  if (!json) process.stdout.write(`${heading}\n`);
  for (const size of bytes) {
    const measurement = await measureAllReduce({ numWorkers: workers, bytes: size, tcp, log: textLog({}) });
    process.stdout.write(`${json ? JSON.stringify(measurement) : describe(measurement)}\n`);
  }
}

/** All of them before any is measured, so that a mistake costs no time. */
function readSizes(list: string): number[] {
  return list.split(',').map((text) => {
    const bytes = parseSize(text);
    if (bytes !== null && bytes % smallestBytes === 0 && bytes >= smallestBytes && bytes <= largestBytes) return bytes;
    const expected = 'a multiple of 4 bytes up to 1GiB, such as 256, 16KiB or 64MiB';
    throw new LockstepError('ERR_USAGE', `--sizes: "${text}" is no size; expected ${expected}.`);
  });
}

const columns = [7, 9, 13, 13] as const;
const heading = row(['workers', 'size', 'time', 'busbw']);

function describe({ workers, bytes, microseconds, busbw }: AllReduceMeasurement): string {
  return row([String(workers), formatSize(bytes), `${microseconds.toFixed(1)} µs`, `${busbw.toFixed(3)} GB/s`]);
}

function row(cells: readonly string[]): string {
  return cells.map((cell, index) => cell.padStart(columns[index] ?? 0)).join('  ');
}
