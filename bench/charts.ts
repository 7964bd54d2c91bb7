/** The charts of a result, as SVG: specifications for Vega-Lite, drawn without a browser. */
import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import { formatSize } from '../bin/byte-size.js';
import type { Result } from './result.js';
import { median } from './statistics.js';
import type { Row, Sample } from './suite.js';
import { busbwOf, localSide, loopbackFigure, sizes, tcpSide } from './suites/all-reduce.js';
import { runsApart } from './suites/scaling.js';
import { stepTimePrefix } from './suites/step-time.js';

export interface Chart {
  /** Of the file, without ".svg". */
  readonly name: string;
  /** What it shows, in words. */
  readonly alt: string;
  readonly svg: string;
}

/** The charts for which the result has samples. */
export async function drawCharts(result: Pick<Result, 'rows' | 'samples'>): Promise<Chart[]> {
  const plans = [allReduceChart(result.samples), scalingChart(result.rows), stepTimeChart(result.samples)];
  const wanted = plans.filter((plan) => plan !== null);
  return Promise.all(wanted.map(async ({ spec, ...chart }) => ({ ...chart, svg: await draw(spec) })));
}

interface ChartPlan {
  readonly name: string;
  readonly alt: string;
  readonly spec: TopLevelSpec;
}

const font = 'Helvetica, Arial, sans-serif';
const config = {
  font,
  background: 'white',
  axis: { labelFontSize: 11, titleFontSize: 12, titleFontWeight: 'normal', gridColor: '#e6e6e6', domainColor: '#888' },
  legend: { labelFontSize: 12, labelLimit: 300, title: null, symbolStrokeWidth: 3 },
  title: { fontSize: 13, fontWeight: 'bold', anchor: 'start' },
  view: { stroke: null },
} as const;

/** Ours stands out; peers are grey. */
const colours = {
  domain: ['Lockstep', 'Lockstep over TCP', 'Gloo over TCP'],
  range: ['#0b6e99', '#7ab8d6', '#9a9a9a'],
};

async function draw(spec: TopLevelSpec): Promise<string> {
  const view = new View(parse(compile({ padding: 12, config, ...spec }).spec), { renderer: 'none' });
  try {
    return `${await view.toSVG()}\n`;
  } finally {
    view.finalize();
  }
}

/** Medians of one figure of one side, or NaN. */
function medianOf(samples: readonly Sample[], suite: string, side: string, figure: string): number {
  return median(
    samples.flatMap((one) => (one.suite === suite && one.side === side ? (one.figures[figure] ?? []) : [])),
  );
}

function allReduceChart(samples: readonly Sample[]): ChartPlan | null {
  const panels = [2, 4].map((workers) => ({ workers, values: busbwValues(samples, workers) }));
  if (panels.every(({ values }) => values.length === 0)) return null;
  const loopback = medianOf(samples, 'all-reduce-2', 'iperf3', loopbackFigure);
  const y = { title: 'bus bandwidth, GB/s', type: 'quantitative' } as const;
  const x = {
    field: 'bytes',
    type: 'quantitative' as const,
    scale: { type: 'log' as const, base: 2 },
    axis: {
      title: null,
      values: [...sizes],
      labelExpr: sizeLabels(),
      labelAngle: -40,
      labelOverlap: false,
      grid: false,
    },
  };
  const line = { type: 'line', point: true, strokeWidth: 2.5 } as const;
  const limitY = { field: 'value', ...y };
  const limitMark = { color: '#666' };
  const limit = {
    data: { values: Number.isNaN(loopback) ? [] : [{ value: loopback }] },
    layer: [
      { mark: { type: 'rule' as const, strokeDash: [4, 4], ...limitMark }, encoding: { y: limitY } },
      {
        mark: {
          type: 'text' as const,
          text: 'loopback, each way (iperf3)',
          align: 'left' as const,
          dy: -7,
          ...limitMark,
        },
        encoding: { y: limitY, x: { value: 4 } },
      },
    ],
  };
  const panel = ({ workers, values }: (typeof panels)[number]) => ({
    title: `${workers} workers`,
    width: 330,
    height: 240,
    data: { values },
    layer: [
      { mark: line, encoding: { x, y: { field: 'busbw', ...y }, color: { field: 'who', scale: colours } } },
      limit,
    ],
  });
  const alt = `Bus bandwidth of the all-reduce against its size, 2 and 4 workers on one machine, Lockstep and Gloo`;
  return { name: 'all-reduce', alt, spec: { hconcat: panels.map(panel), resolve: { scale: { y: 'shared' } } } };
}

function busbwValues(samples: readonly Sample[], workers: number): { who: string; bytes: number; busbw: number }[] {
  const sides = { Lockstep: localSide, 'Lockstep over TCP': tcpSide, 'Gloo over TCP': 'gloo' };
  return Object.entries(sides).flatMap(([who, side]) =>
    sizes.flatMap((bytes) => {
      const busbw = medianOf(samples, `all-reduce-${workers}`, side, busbwOf(bytes));
      return Number.isNaN(busbw) ? [] : [{ who, bytes, busbw }];
    }),
  );
}

/** An expression of Vega: the value to its text. */
function sizeLabels(): string {
  const cases = sizes.map((bytes) => `datum.value == ${bytes} ? '${formatSize(bytes)}' : `);
  return `${cases.join('')}''`;
}

/** Bars of how many times faster two workers are than one. */
/** By what their rows are named with; ours by none of these. */
const scalingSides = {
  domain: ['Lockstep', runsApart, 'PyTorch DDP'],
  range: ['#0b6e99', '#c9dfea', '#9a9a9a'],
};

function scalingChart(rows: readonly Row[]): ChartPlan | null {
  const values = rows.flatMap(({ suite, name, ratio }) => {
    if (!suite.startsWith('scaling: ')) return [];
    const who = scalingSides.domain.find((side) => name.includes(side)) ?? 'Lockstep';
    return [{ network: suite.slice('scaling: '.length), who, ratio, label: `${(ratio ?? 0).toFixed(2)}×` }];
  });
  if (values.length === 0) return null;
  const most = Math.max(2, ...values.map(({ ratio }) => ratio ?? 0));
  const spec: TopLevelSpec = {
    width: 430,
    height: { step: 26 },
    data: { values },
    encoding: {
      y: {
        field: 'network',
        type: 'nominal',
        sort: null,
        title: null,
        axis: { labelLimit: 400, domain: false, ticks: false },
      },
      yOffset: { field: 'who', type: 'nominal', sort: null },
      x: { field: 'ratio', type: 'quantitative', title: 'two workers, times one', scale: { domain: [0, most] } },
    },
    layer: [
      { mark: { type: 'bar' }, encoding: { color: { field: 'who', type: 'nominal', scale: scalingSides } } },
      { mark: { type: 'text', align: 'left', dx: 4 }, encoding: { text: { field: 'label' } } },
    ],
  };
  return {
    name: 'scaling',
    alt: 'How many times faster two workers train than one, Lockstep and PyTorch DDP, and what two separate runs have',
    spec,
  };
}

/** One bar for each network: the shares of a step. */
function stepTimeChart(samples: readonly Sample[]): ChartPlan | null {
  const suites = [...new Set(samples.flatMap(({ suite }) => (suite.startsWith(stepTimePrefix) ? [suite] : [])))];
  const values = suites.flatMap((suite) => {
    const names = Object.keys(samples.find((one) => one.suite === suite)?.figures ?? {});
    const times = names.map((part) => ({ part, ms: medianOf(samples, suite, 'lockstep', part) }));
    const total = times.reduce((sum, { ms }) => sum + ms, 0);
    const network = `${suite.slice(stepTimePrefix.length)} (${total.toFixed(total < 10 ? 2 : 1)} ms)`;
    return times.map((time, order) => ({ ...time, network, order }));
  });
  if (values.length === 0) return null;
  const parts = [...new Set(values.map(({ part }) => part))];
  const spec: TopLevelSpec = {
    width: 430,
    height: { step: 34 },
    data: { values },
    mark: { type: 'bar' },
    encoding: {
      y: {
        field: 'network',
        type: 'nominal',
        sort: null,
        title: null,
        axis: { labelLimit: 400, domain: false, ticks: false },
      },
      x: { field: 'ms', type: 'quantitative', stack: 'normalize', title: 'share of a step' },
      color: { field: 'part', type: 'nominal', scale: { domain: parts, scheme: 'tableau10' } },
      order: { field: 'order', type: 'quantitative' },
    },
  };
  return { name: 'step-time', alt: 'Where the time of a step goes with two workers, by network', spec };
}
