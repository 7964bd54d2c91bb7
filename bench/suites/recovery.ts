/** A worker that is killed, or hangs, in the midst of a step, beside torchrun; and a coordinator that is away. */
import { join } from 'node:path';
import { z } from 'zod';
import { freePort, jsonLines, lockstepEntry } from '../child.js';
import { peersFolder } from '../python.js';
import type { RowPlan, Side, Suite } from '../suite.js';
import type { Context } from './context.js';

const figuresSchema = z.object({ median: z.number(), p95: z.number() });
const lossSchema = z.object({ total: figuresSchema, less: figuresSchema, parts: z.record(z.string(), z.number()) });
const awaySchema = z.object({ stepsPerSecond: z.object({ before: z.number(), away: z.number(), after: z.number() }) });
const peerSchema = z.object({ median: z.number(), p95: z.number(), lostSteps: z.number() });

const faults = {
  kill: { signal: 'SIGKILL', times: 30, medianMs: 150, p95Ms: 400 },
  stop: { signal: 'SIGSTOP', times: 10, medianMs: 1500, p95Ms: 1500 },
} as const;
type Fault = keyof typeof faults;

const awaySeconds = 10;
const awayTimes = 5;
const peerTimes = 5;
const numbersOfWorkers = [2, 3, 4] as const;

export function recoverySuites(context: Context): Suite[] {
  return [...numbersOfWorkers.map((numWorkers) => lossSuite(numWorkers, context)), awaySuite()];
}

function lossSuite(numWorkers: number, context: Context): Suite {
  return {
    name: `recovery-${numWorkers}`,
    sides: [lossSide('kill', numWorkers), lossSide('stop', numWorkers), torchrunSide(numWorkers, context)],
    rows: [...lossRows('kill', numWorkers), ...lossRows('stop', numWorkers)],
    maxRounds: 1,
  };
}

const sideName = (fault: Fault): string => `lockstep, ${faults[fault].signal}`;
const torchrun = 'torchrun';

function lossRows(fault: Fault, numWorkers: number): RowPlan[] {
  const { signal, times, medianMs, p95Ms } = faults[fault];
  const row = (what: string, figure: string, more: Pick<RowPlan, 'peer' | 'target'>): RowPlan => ({
    name: `${signal} → next step, ${numWorkers} workers, ${what} of ${times}`,
    unit: 'ms',
    ours: { side: sideName(fault), figure },
    better: 'lower',
    ...more,
  });
  const peer = fault === 'kill' ? { side: torchrun, figure: 'median' } : null;
  const without = 'less the recomputation,';
  return [
    row('median', 'median', { peer, target: null }),
    row(`${without} median`, 'less, median', { peer: null, target: medianMs }),
    row(`${without} 95th percentile`, 'less, p95', { peer: null, target: p95Ms }),
  ];
}

function lossSide(fault: Fault, numWorkers: number): Side {
  const which = ['--workers', String(numWorkers), '--fault', fault, '--times', String(faults[fault].times)];
  const measure = async () => {
    const { total, less, parts } = await benchRecovery(lossSchema, which);
    return {
      median: total.median,
      p95: total.p95,
      'less, median': less.median,
      'less, p95': less.p95,
      ...parts,
    };
  };
  return { name: sideName(fault), measure };
}

/** The same network and batch; what is lost since its last checkpoint, which it writes every 100 steps, is in the samples. */
function torchrunSide(numWorkers: number, { python }: Context): Side {
  const measure = async () => {
    if ((await python.version('torch')) === null) return null;
    const args = ['--workers', String(numWorkers), '--times', String(peerTimes), '--port', String(await freePort())];
    const script = join(peersFolder, 'torchrun_recovery.py');
    const [line] = await jsonLines(peerSchema, python.executable, [script, ...args]);
    if (!line) throw new Error('torchrun_recovery.py wrote no JSON line');
    return line;
  };
  return { name: torchrun, measure };
}

/** Both figures of a row are of one run, seconds apart: medians of so many times. */
function awaySuite(): Suite {
  const side = 'lockstep';
  const row = (name: string, figure: string, target: number | null): RowPlan => ({
    name,
    unit: 'steps/s',
    ours: { side, figure },
    peer: { side, figure: 'before' },
    better: 'higher',
    target,
  });
  const measure = async () => {
    const which = [
      '--workers',
      '2',
      '--fault',
      'coordinator',
      '--times',
      String(awayTimes),
      '--away',
      String(awaySeconds),
    ];
    return (await benchRecovery(awaySchema, which)).stepsPerSecond;
  };
  return {
    name: 'coordinator-away',
    sides: [{ name: side, measure }],
    rows: [
      row(`2 workers, no coordinator for ${awaySeconds} s, beside before`, 'away', 0.95),
      row('2 workers, the coordinator is back, beside before', 'after', 0.95),
    ],
    maxRounds: 1,
  };
}

async function benchRecovery<T>(schema: z.ZodType<T>, which: readonly string[]): Promise<T> {
  const [line] = await jsonLines(schema, process.execPath, [lockstepEntry, 'bench', 'recovery', '--json', ...which]);
  if (line !== undefined) return line;
  throw new Error('lockstep bench recovery wrote no JSON line');
}
