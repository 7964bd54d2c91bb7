/**
 * `npm run bench:publish [RESULT]`: draws the charts of a result (the newest, unless one is named) to docs/charts, and puts
 * its table in the README, between the two comments that mark its place.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { drawCharts, type Chart } from './charts.js';
import { root } from './child.js';
import { newestResult, readResult, type Result } from './result.js';
import { markdownTable } from './table.js';

const [begin, end] = ['<!-- benchmarks -->', '<!-- end of benchmarks -->'] as const;

const named = process.argv[2];
const path = named === undefined ? await newestResult(join(root, 'bench', 'results')) : resolve(named);
const result = await readResult(path);
const charts = await drawCharts(result);
const folder = join(root, 'docs', 'charts');
await mkdir(folder, { recursive: true });
for (const { name, svg } of charts) await writeFile(join(folder, `${name}.svg`), svg);
const readme = join(root, 'README.md');
await writeFile(readme, withSection(await readFile(readme, 'utf8'), section(result, charts)));
console.log(`${charts.length} charts in ${folder}, the table in ${readme}, from ${path}`);

function section({ date, configuration, rows, skipped }: Result, drawn: readonly Chart[]): string[] {
  const { cpu, cores, engine, peers, rounds } = configuration;
  const versions = [
    engine.replace(/, installed .*$/, ''),
    ...Object.entries(peers).map(([name, version]) => `${name} ${version}`),
  ];
  const source = relative(root, path);
  return [
    `${date.slice(0, 10)}, ${cpu}, ${cores} cores, ${versions.join(', ')}: medians of ${rounds} round${rounds === 1 ? '' : 's'}, with the spread of`,
    `the rounds' ratios ([all samples](${source})).`,
    '',
    ...drawn.flatMap(({ name, alt }) => [`![${alt}](docs/charts/${name}.svg)`, '']),
    ...markdownTable(rows),
    ...skipped.flatMap((line) => ['', `Skipped: ${line}`]),
  ];
}

function withSection(text: string, lines: readonly string[]): string {
  const [before, rest] = text.split(begin);
  const after = rest?.split(end)[1];
  if (before === undefined || after === undefined) throw new Error(`README.md has no ${begin} … ${end}`);
  return [`${before}${begin}`, '', ...lines, '', `${end}${after}`].join('\n');
}
