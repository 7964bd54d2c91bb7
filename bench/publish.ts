/**
 * `npm run bench:publish [RESULT…]`: draws the charts of a result (the newest, unless one is named) to docs/charts, and puts
 * its table in the README, between the two comments that mark its place. Of several results, a suite is from the last that has it.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { drawCharts, type Chart } from './charts.js';
import { root } from './child.js';
import { combine, sourcesOf, suitesOf, type Source } from './combine.js';
import { newestResult, readResult } from './result.js';
import { markdownTable } from './table.js';

const [begin, end] = ['<!-- benchmarks -->', '<!-- end of benchmarks -->'] as const;

const named = process.argv.slice(2).map((path) => resolve(path));
const paths = named.length > 0 ? named : [await newestResult(join(root, 'bench', 'results'))];
const results = await Promise.all(paths.map(async (path) => ({ path, result: await readResult(path) })));
const sources = sourcesOf(results);
const { rows, samples } = combine(sources, [...new Set(results.flatMap(({ result }) => suitesOf(result)))]);
const charts = await drawCharts({ rows, samples });
const folder = join(root, 'docs', 'charts');
await mkdir(folder, { recursive: true });
for (const { name, svg } of charts) await writeFile(join(folder, `${name}.svg`), svg);
const readme = join(root, 'README.md');
await writeFile(readme, withSection(await readFile(readme, 'utf8'), section(charts)));
console.log(`${charts.length} charts in ${folder}, the table in ${readme}, from ${paths.join(', ')}`);

function section(drawn: readonly Chart[]): string[] {
  return [
    "Medians over rounds, with the spread of the rounds' ratios:",
    '',
    ...sources.flatMap((source) => [
      `- ${described(source)}`,
      ...source.result.skipped.map((line) => `  Skipped: ${line}`),
    ]),
    '',
    ...drawn.flatMap(({ name, alt }) => [`![${alt}](docs/charts/${name}.svg)`, '']),
    ...markdownTable(rows),
  ];
}

/** What was measured when, on what. */
function described({ path, result, suites }: Source): string {
  const { cpu, cores, engine, peers, commit } = result.configuration;
  const rounds = Math.max(...result.samples.filter(({ suite }) => suites.includes(suite)).map(({ round }) => round));
  const versions = [
    engine.replace(/, installed .*$/, ''),
    ...Object.entries(peers).map(([name, version]) => `${name} ${version}`),
  ];
  return (
    `[${result.date.slice(0, 10)}](${relative(root, path)}), commit ${commit.slice(0, 7)}, ${cpu}, ${cores} cores, ${versions.join(', ')}, ` +
    `${rounds} round${rounds === 1 ? '' : 's'}: ${suites.join(', ')}`
  );
}

function withSection(text: string, lines: readonly string[]): string {
  const [before, rest] = text.split(begin);
  const after = rest?.split(end)[1];
  if (before === undefined || after === undefined) throw new Error(`README.md has no ${begin} … ${end}`);
  return [`${before}${begin}`, '', ...lines, '', `${end}${after}`].join('\n');
}
