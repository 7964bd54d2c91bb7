/** All-reduce of float32 on this machine: ours beside Gloo's, and beside what its loopback carries at best. */
import { execa } from 'execa';
import { z } from 'zod';
import { formatSize } from '../../bin/byte-size.js';
import { freePort, jsonLines, lockstepEntry } from '../child.js';
import { join } from 'node:path';
import { peersFolder } from '../python.js';
import type { Figures, RowPlan, Side, Suite } from '../suite.js';
import type { Context } from './context.js';

const kib = 1024;
const mib = 1024 * kib;
export const sizes = [256, 16 * kib, 256 * kib, mib, 4 * mib, 16 * mib, 64 * mib] as const;
const comparedSizes = sizes.filter((bytes) => bytes >= mib);

const lineSchema = z.object({ bytes: z.number(), microseconds: z.number(), busbw: z.number() });
type Line = z.output<typeof lineSchema>;

export const busbwOf = (bytes: number): string => `${formatSize(bytes)} GB/s`;
/** Of the loopback's side. */
export const loopbackFigure = 'GB/s each way';

const timeOf = (bytes: number): string => `${formatSize(bytes)} µs`;

export function allReduceSuites(context: Context): Suite[] {
  return [suiteOf(2, context), suiteOf(4, context)];
}

/** Between workers of one host, as a run has it: through memory that they share, where the engine can. */
export const localSide = 'lockstep';
/** As between hosts, and as Gloo and iperf3 here: through loopback TCP. */
export const tcpSide = 'lockstep over TCP';

function suiteOf(numWorkers: number, context: Context): Suite {
  const sides = [oursSide(localSide, numWorkers), oursSide(tcpSide, numWorkers), glooSide(numWorkers, context)];
  const rows = comparedSizes.flatMap((bytes): RowPlan[] => {
    const name = `all-reduce, ${numWorkers} workers, ${formatSize(bytes)}`;
    const figure = busbwOf(bytes);
    return [
      { ...beside(localSide, 'gloo', figure), name, target: numWorkers === 2 ? 1.2 : 1 },
      { ...beside(tcpSide, 'gloo', figure), name: `${name}, TCP on both sides`, target: null },
    ];
  });
  const name = `all-reduce-${numWorkers}`;
  if (numWorkers !== 2) return { name, sides, rows };
  return { name, sides: [...sides, loopbackSide(context)], rows: [...rows, ...latencyRows, ...loopbackRows] };
}

/** @param theirs the peer's figure, where it has another name */
const beside = (ours: string, peer: string, figure: string, theirs = figure): Omit<RowPlan, 'name' | 'target'> => ({
  unit: 'GB/s',
  ours: { side: ours, figure },
  peer: { side: peer, figure: theirs },
  better: 'higher',
});

const latency = { unit: 'µs', better: 'lower' } as const;
const latencyName = 'all-reduce, 2 workers, 256 B';
const latencyRows: readonly RowPlan[] = [
  { ...beside(localSide, 'gloo', timeOf(256)), ...latency, name: latencyName, target: 10 },
  { ...beside(tcpSide, 'gloo', timeOf(256)), ...latency, name: `${latencyName}, TCP on both sides`, target: null },
];

const loopbackName = 'all-reduce, 2 workers, 64 MiB, beside loopback both ways';
const loopback = (ours: string) => beside(ours, 'iperf3', busbwOf(64 * mib), loopbackFigure);
const loopbackRows: readonly RowPlan[] = [
  { ...loopback(localSide), name: loopbackName, target: 0.85 },
  { ...loopback(tcpSide), name: `${loopbackName}, TCP on both sides`, target: null },
];

function oursSide(name: string, numWorkers: number): Side {
  const which = ['--workers', String(numWorkers), '--sizes', sizes.join(), ...(name === tcpSide ? ['--tcp'] : [])];
  const args = [lockstepEntry, 'bench', 'allreduce', '--json', ...which];
  return { name, measure: async () => figuresOf(await jsonLines(lineSchema, process.execPath, args)) };
}

function glooSide(numWorkers: number, { python }: Context): Side {
  const measure = async (): Promise<Figures | null> => {
    if ((await python.version('torch')) === null) return null;
    const script = join(peersFolder, 'gloo_allreduce.py');
    const args = [script, '--workers', String(numWorkers), '--port', String(await freePort())];
    return figuresOf(await jsonLines(lineSchema, python.executable, [...args, '--sizes', ...sizes.map(String)]));
  };
  return { name: 'gloo', measure };
}

function figuresOf(lines: readonly Line[]): Figures {
  return Object.fromEntries(
    lines.flatMap(({ bytes, microseconds, busbw }) => [
      [busbwOf(bytes), busbw],
      [timeOf(bytes), microseconds],
    ]),
  );
}

const directionSchema = z.object({ bits_per_second: z.number() });
const iperfSchema = z.object({
  end: z.object({ sum_received: directionSchema, sum_received_bidir_reverse: directionSchema }),
});

/** The mean of the two directions, at once. */
function loopbackSide({ skip }: Context): Side {
  const measure = async (): Promise<Figures | null> => {
    const there = await execa('iperf3', ['--version'], { reject: false });
    if (there.failed) {
      skip('iperf3 is not on the PATH: the row beside loopback is left out');
      return null;
    }
    const port = String(await freePort());
    const server = execa('iperf3', ['--server', '--one-off', '--bind', '127.0.0.1', '--port', port], { reject: false });
    try {
      const { end } = iperfSchema.parse(JSON.parse(await iperfClient(port)));
      const bits = end.sum_received.bits_per_second + end.sum_received_bidir_reverse.bits_per_second;
      return { [loopbackFigure]: bits / 2 / 8 / 1e9 };
    } finally {
      server.kill();
      await server;
    }
  };
  return { name: 'iperf3', measure };
}

const serverStartTries = 50;

/** The server takes a moment to listen. */
async function iperfClient(port: string): Promise<string> {
  const args = ['--client', '127.0.0.1', '--port', port, '--bidir', '--time', '3', '--json'];
  for (let tries = 1; ; tries++) {
    const { failed, stdout } = await execa('iperf3', args, { reject: false });
    if (!failed) return stdout;
    if (tries === serverStartTries) throw new Error(`iperf3 cannot reach its server: ${stdout}`);
  }
}
