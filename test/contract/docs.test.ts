/** What the documentation says of error codes, options, messages and versions is what the code has. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { beforeAll, describe, expect, test } from 'vitest';
import { commandNames, loadCommands } from '../../bin/commands/index.js';
import { errorExitCodes } from '../../src/errors.js';
import { jobSchema } from '../../src/job/job.js';
import { defaultLimits } from '../../src/protocol/limits.js';
import { fromCoordinatorSchema, fromWorkerSchema } from '../../src/protocol/messages.js';
import { lockstepVersion } from '../../src/version.js';

const root = resolve(import.meta.dirname, '../..');
const read = (path: string): Promise<string> => readFile(join(root, path), 'utf8');
/** Those of which docs/operations.md has every option. */
const operated = await loadCommands(commandNames.filter((name) => !['bench', 'engine', 'doctor'].includes(name)));

test('the version in the code is that of the package', async () => {
  const manifest = JSON.parse(await read('package.json')) as { readonly version: string };
  expect(lockstepVersion).toBe(manifest.version);
});

describe('docs/errors.md', () => {
  test('has a row for every code, with its exit code, and for no other', async () => {
    const rows = (await read('docs/errors.md')).matchAll(/^\| (ERR_[A-Z_]+) \| (\d+) \|/gm);
    const documented = [...rows].map(([, code, exit]) => `${code ?? ''} ${exit ?? ''}`);
    const actual = Object.entries(errorExitCodes).map(([code, exit]) => `${code} ${exit}`);
    expect(documented.toSorted()).toEqual(actual.toSorted());
  });
});

describe('docs/operations.md', () => {
  let operations: string;

  beforeAll(async () => {
    operations = await read('docs/operations.md');
  });

  test.each(operated.map((command) => [command.name(), command] as const))(
    'has every option of `lockstep %s` in a table',
    (_, command) => {
      const missing = optionsOf(command).filter((option) => !operations.includes(`\n| \`${option}`));
      expect(missing).toEqual([]);
    },
  );

  test('has no option in a table that no command has', () => {
    const known = operated.flatMap(optionsOf);
    const documented = [...operations.matchAll(/^\| `(--[a-z-]+)/gm)].map(([, option = '']) => option);
    expect(documented.filter((option) => !known.includes(option))).toEqual([]);
  });

  test('has each limit with its default', () => {
    const wrong = Object.entries(defaultLimits).filter(([name, value]) => {
      const row = new RegExp(`^\\| \`--${dashed(name)} N\` \\| .* \\| ([\\d,]+) \\|$`, 'm').exec(operations);
      return row?.[1] !== (value as number).toLocaleString('en-US');
    });
    expect(wrong).toEqual([]);
  });
});

test('docs/protocol.md names every control message', async () => {
  const protocol = await read('docs/protocol.md');
  const types = [...fromWorkerSchema.options, ...fromCoordinatorSchema.options].map(({ shape }) => shape.type.value);
  expect(types.filter((type) => !new RegExp(`\\b${type}\\b`).test(protocol))).toEqual([]);
});

describe('README.md', () => {
  test('has every command in its table', async () => {
    const readme = await read('README.md');
    expect(commandNames.filter((name) => !readme.includes(`\n| \`lockstep ${name}`))).toEqual([]);
  });

  test('shows the example as it is', async () => {
    const readme = await read('README.md');
    const job = await read('examples/digits/job.ts');
    const shown = /```ts\n\/\/ examples\/digits\/job\.ts\n(.*?)\n```/s.exec(readme)?.[1] ?? 'no example';
    expect(withoutSpace(job)).toContain(withoutSpace(shown));
  });
});

test('a job has a row for each of its fields in the README or in docs/jobs.md', async () => {
  const text = `${await read('README.md')}${await read('docs/jobs.md')}`;
  expect(Object.keys(jobSchema.shape).filter((field) => !text.includes(`\`${field}\``))).toEqual([]);
});

test('every link of the documentation leads to a file that is there', async () => {
  const examples = (await readdir(join(root, 'examples'))).map((name) => join('examples', name));
  const folders = ['.', 'docs', 'docs/decisions', 'deploy', ...examples, 'bench', 'bench/peers'];
  const listed = await Promise.all(
    folders.map(async (folder) => (await readdir(join(root, folder))).map((name) => join(folder, name))),
  );
  const pages = listed.flat().filter((path) => path.endsWith('.md'));
  expect(pages.length).toBeGreaterThan(10);
  const broken = await Promise.all(pages.map(async (page) => brokenLinks(page, await read(page))));
  expect(broken.flat()).toEqual([]);
});

/** The long flags, `--help` excluded. */
function optionsOf(command: Command): string[] {
  return command.options.flatMap(({ long }) => (long ? [long] : []));
}

/** `maxControlBytes` → `max-control-bytes` */
function dashed(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function withoutSpace(text: string): string {
  return text.replace(/\s+/g, '');
}

/** Links of a page that lead to no file, or to no heading of one. */
async function brokenLinks(page: string, text: string): Promise<string[]> {
  const links = [...text.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)/g)];
  const checked = await Promise.all(
    links.map(async ([link, target = '', heading]) => {
      const path = target === '' ? page : join(dirname(page), target);
      const there =
        existsSync(join(root, path)) && (heading === undefined || (await anchorsOf(path)).includes(heading));
      return there ? [] : [`${page}: ${link}`];
    }),
  );
  return checked.flat();
}

/** The names by which a page's headings can be linked to: "## Exit codes" → "exit-codes". */
async function anchorsOf(page: string): Promise<string[]> {
  const headings = (await read(page)).matchAll(/^#+ (.*)$/gm);
  return [...headings].map(([, text = '']) =>
    text
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replaceAll(' ', '-'),
  );
}
