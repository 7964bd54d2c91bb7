/** What a run of the benchmarks found, as a dated file: `bench/results/YYYY-MM-DD.json`, and the table beside it. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { configurationSchema } from './configuration.js';
import { markdownTable } from './table.js';

const spreadSchema = z.object({ min: z.number(), max: z.number() });

const rowSchema = z.object({
  suite: z.string(),
  name: z.string(),
  unit: z.string(),
  ours: z.number(),
  peer: z.number().nullable(),
  peerName: z.string().nullable(),
  ratio: z.number().nullable(),
  spread: spreadSchema,
  better: z.enum(['higher', 'lower']),
  target: z.number().nullable(),
  met: z.boolean().nullable(),
});

const resultSchema = z.object({
  date: z.string(),
  configuration: configurationSchema,
  rows: z.array(rowSchema),
  samples: z.array(
    z.object({
      suite: z.string(),
      side: z.string(),
      round: z.number(),
      figures: z.record(z.string(), z.number()),
    }),
  ),
  /** What was left out, and why. */
  skipped: z.array(z.string()),
});

export type Result = z.output<typeof resultSchema>;

/** Writes both files; those of an earlier run of that day stay. Returns the JSON file's path. */
export async function writeResult(folder: string, result: Result): Promise<string> {
  await mkdir(folder, { recursive: true });
  const base = freeName(folder, result.date.slice(0, 10));
  await writeFile(`${base}.md`, markdown(result));
  await writeFile(`${base}.json`, `${JSON.stringify(result, null, 1)}\n`);
  return `${base}.json`;
}

export async function readResult(path: string): Promise<Result> {
  return resultSchema.parse(JSON.parse(await readFile(path, 'utf8')));
}

/** The newest result of a folder. */
export async function newestResult(folder: string): Promise<string> {
  const dated = (await readdir(folder)).flatMap((name) => {
    const [, date, number = '1'] = /^(\d{4}-\d\d-\d\d)(?:-(\d+))?\.json$/.exec(name) ?? [];
    return date === undefined ? [] : [{ name, date, number: Number(number) }];
  });
  const newest = dated.toSorted((a, b) => a.date.localeCompare(b.date) || a.number - b.number).at(-1);
  if (newest) return join(folder, newest.name);
  throw new Error(`${folder} has no result; run: npm run bench`);
}

/** "2026-11-24", "2026-11-24-2", … */
function freeName(folder: string, date: string): string {
  for (let number = 1; ; number++) {
    const base = join(folder, number === 1 ? date : `${date}-${number}`);
    if (!existsSync(`${base}.json`)) return base;
  }
}

function markdown({ date, configuration, rows, skipped }: Result): string {
  const facts = Object.entries(configuration).map(
    ([name, value]) => `| ${name} | ${typeof value === 'object' ? JSON.stringify(value) : value} |`,
  );
  return [
    `# Benchmarks, ${date.slice(0, 10)}`,
    '',
    ...markdownTable(rows),
    '',
    ...skipped.flatMap((line) => [`Skipped: ${line}`, '']),
    '| configuration | |',
    '|---|---|',
    ...facts,
    '',
  ].join('\n');
}
