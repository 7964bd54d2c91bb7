/**
 * `npm run bench:scale`: what an all-reduce of many workers takes, by simulation. `--measured FILE` takes what frames and
 * bytes cost from a real machine, and says how well the simulation predicts that machine's other figures. `--write` makes
 * the figures of docs/scale.md and bench/results/scale.json anew.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { parseSize } from '../../bin/byte-size.js';
import { positiveInteger } from '../../bin/options.js';
import { defaultBucketBytes } from '../../src/collective/buckets.js';
import { toLockstepError } from '../../src/errors.js';
import { calibrate, readMeasurements, type Calibration } from './calibration.js';
import { curvesOf } from './curves.js';
import { measureFrameCost } from './frame-cost.js';
import { defaultNetwork, packetShare, type Network } from './network.js';
import { calibrationTable, pointTable, renderPage, type Results, type Stragglers } from './report.js';
import { measurePoint, predictChange, slowestOf, ways, type Point, type Setting, type Way } from './sweep.js';

interface Options {
  readonly workers: readonly number[];
  readonly bytes: readonly number[];
  readonly bucket: number;
  readonly ways: readonly Way[];
  readonly gpusPerHost: number;
  readonly cores: number | undefined;
  readonly latency: number;
  readonly bandwidth: number;
  readonly measured: string | undefined;
  readonly measuredCores: number;
  readonly write: boolean;
}

const mebibyte = 2 ** 20;
const resultsPath = fileURLToPath(new URL('../results/scale.json', import.meta.url));
const pagePath = fileURLToPath(new URL('../../docs/scale.md', import.meta.url));

/** Workers, and MiB of a bucket. 96 workers are 12 hosts, which is no power of two. */
const furtherSettings = [
  [96, 4],
  [128, 4],
  [1024, 4],
  [1024, 16],
  [1024, 64],
  [8192, 8],
  [8192, 32],
  [8192, 64],
] as const;
const furtherBytes = 64 * mebibyte;

const program = new Command('bench:scale')
  .description('simulate the all-reduce of many workers')
  .option('--workers <list>', 'how many', listOf(positiveInteger), [8, 16, 32, 64, 128, 256, 512, 1024])
  .option('--bytes <list>', 'of gradients (default: 1MiB,96MiB,475MiB)', listOf(size), [1, 96, 475].map(inMebibytes))
  .option('--bucket <size>', 'what is reduced as a unit (default: 4MiB)', size, defaultBucketBytes)
  .option('--ways <list>', `some of ${ways.join(',')}`, listOf(wayOf), [...ways])
  .option('--gpus-per-host <n>', 'workers of one host', positiveInteger, defaultNetwork.workersPerHost)
  .option('--cores <n>', 'of one host, for comm threads (default: one for each worker)', positiveInteger)
  .option('--latency <µs>', 'one way between hosts', positiveNumber, defaultNetwork.latencySeconds * 1e6)
  .option('--bandwidth <Gbit/s>', "of a host's card, each way", positiveNumber, 100)
  .option('--measured <file>', 'lines of `lockstep bench allreduce --json` from this machine: of 2 workers, and others')
  .option('--measured-cores <n>', 'cores of the machine that measured', positiveInteger, availableParallelism())
  .option('--write', 'make docs/scale.md and bench/results/scale.json anew', false)
  .action(main);

await program.parseAsync().catch((thrown: unknown) => {
  const { code, message } = toLockstepError(thrown);
  console.error(`${code}: ${message}`);
  process.exitCode = 1;
});

async function main(options: Options): Promise<void> {
  const calibration = await readCalibration(options);
  if (calibration) console.log(`${calibrationTable(calibration)}\n`);
  const network = networkOf(options, calibration);
  const { bucket: bucketBytes } = options;
  const points = options.bytes.flatMap((numBytes) =>
    options.workers.flatMap((numWorkers) =>
      options.ways.map((way) => announce({ network, way, numWorkers, numBytes, bucketBytes })),
    ),
  );
  console.log(pointTable(points));
  if (!options.write) return;
  const slowCard = slowCards(options, network);
  const results: Results = { network, calibration, points, slowCard, ...further(network), stragglers: stragglers() };
  await mkdir(dirname(resultsPath), { recursive: true });
  await writeFile(resultsPath, `${JSON.stringify({ ...results, curves: curvesOf(results) }, null, 2)}\n`);
  await writeFile(pagePath, renderPage(await readFile(pagePath, 'utf8'), results));
}

/** Fitted to the file that is named; else, when the page is made anew, what it shows already. */
async function readCalibration({ measured, measuredCores, write }: Options): Promise<Calibration | null> {
  if (measured === undefined) {
    if (!write || !existsSync(resultsPath)) return null;
    return (JSON.parse(await readFile(resultsPath, 'utf8')) as Results).calibration; // as this command wrote it
  }
  const costs = { ...defaultNetwork.costs, frameSeconds: await measureFrameCost() };
  const machine = { ...defaultNetwork, coresPerHost: measuredCores, costs };
  return calibrate(machine, defaultBucketBytes, readMeasurements(await readFile(measured, 'utf8')));
}

function networkOf(options: Options, calibration: Calibration | null): Network {
  const { gpusPerHost, cores = gpusPerHost, latency, bandwidth } = options;
  return {
    ...defaultNetwork,
    workersPerHost: gpusPerHost,
    coresPerHost: cores,
    latencySeconds: latency / 1e6,
    cardBytesPerSecond: cardOf(bandwidth),
    costs: calibration?.costs ?? defaultNetwork.costs,
  };
}

function announce(setting: Setting): Point {
  const startedMs = performance.now();
  const point = measurePoint(setting);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  console.error(`${setting.numWorkers} workers, ${setting.way}, ${setting.numBytes} bytes: simulated in ${seconds} s`);
  return point;
}

/** The middle size again, where the cards are the limit. */
function slowCards({ bytes, workers, bucket: bucketBytes }: Options, network: Network): Point[] {
  const slow = { ...network, cardBytesPerSecond: cardOf(10) };
  const numBytes = bytes[Math.floor(bytes.length / 2)] ?? furtherBytes;
  return workers.flatMap((numWorkers) =>
    (['flat', 'two-level'] as const).map((way) => announce({ network: slow, way, numWorkers, numBytes, bucketBytes })),
  );
}

function further(network: Network): Pick<Results, 'further' | 'changes'> {
  const settings = furtherSettings.map(([numWorkers, mebibytes]) => {
    return { network, numWorkers, numBytes: furtherBytes, bucketBytes: inMebibytes(mebibytes) };
  });
  return {
    further: settings.map((setting) => announce({ ...setting, way: 'two-level' })),
    changes: settings
      .filter(({ numWorkers }) => numWorkers >= 1024)
      .flatMap((setting) => [
        predictChange(setting, { levels: 'batched', localPayload: 'copied' }),
        predictChange(setting, { levels: 'batched', localPayload: 'mapped' }),
      ]),
  };
}

function stragglers(): Stragglers[] {
  return [0.02, 0.1].flatMap((jitter) =>
    [8, 64, 1024, 8192].map((workers) => ({ workers, jitter, slowest: slowestOf(workers, jitter) - 1 })),
  );
}

/** Payload bytes per second of a card of so many Gbit/s. */
function cardOf(gigabits: number): number {
  return (gigabits * 1e9 * packetShare) / 8;
}

function inMebibytes(count: number): number {
  return count * mebibyte;
}

function listOf<T>(read: (text: string) => T): (list: string) => T[] {
  return (list) => list.split(',').map(read);
}

function wayOf(text: string): Way {
  const way = ways.find((one) => one === text);
  if (way !== undefined) return way;
  throw new InvalidArgumentError(`Expected some of ${ways.join(', ')}.`);
}

function size(text: string): number {
  const bytes = parseSize(text);
  if (bytes !== null && bytes > 0 && bytes % 64 === 0) return bytes;
  throw new InvalidArgumentError('Expected a multiple of 64 bytes, such as 64KiB or 96MiB.');
}

function positiveNumber(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('Expected a number above 0.');
}
