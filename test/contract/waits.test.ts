/** What docs/operations.md says of waits is what the code does, and the code has none beside. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { defaultLimits } from '../../src/protocol/limits.js';

const root = resolve(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/operations.md'), 'utf8');
const section = /\n## Waits\n(.*?)\n## /s.exec(page)?.[1] ?? '';
const [waits, constants] = [tableAfter('| who waits |'), tableAfter('| constant |')];

/** Not those that measure. */
const folders = ['bin', 'coordinator', 'src', 'testing', 'transport', 'worker'];
const sources = folders
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
  )
  .filter((path) => /\.(ts|cc)$/.test(path) && !path.includes('/bench/'))
  .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));

/** `lastWordsMs` → milliseconds, of `path`; in C++ nanoseconds are. */
const declaration = /^(?:export )?const(?:expr int64_t)? (\w+(?:Ms|Ns)) = ([\d_ *]+);/gm;

const declared = sources.flatMap(({ path, text }) =>
  [...text.matchAll(declaration)].map(([, name = '', value = '']) => {
    const product = value.split('*').reduce((so, factor) => so * Number(factor.replaceAll('_', '')), 1);
    return { name, path, ms: name.endsWith('Ns') ? product / 1e6 : product };
  }),
);

describe('docs/operations.md, "Waits"', () => {
  test('has each time that is named in the code, with its value, and no other', () => {
    const documented = constants.map(
      ([name = '', where = '', ms = '']) => `${inCode(name)[0] ?? ''} ${linkOf(where)} ${ms}`,
    );
    const actual = declared.map(({ name, path, ms }) => `${name} ${path} ${ms.toLocaleString('en-US')}`);
    expect(documented.toSorted()).toEqual(actual.toSorted());
  });

  test('gives each wait a limit that is an option, or such a constant', () => {
    const options = Object.keys(defaultLimits).map((name) => `--${dashed(name)}`);
    const known = new Set([...options, ...declared.map(({ name }) => name)]);
    expect(waits.length).toBeGreaterThan(30);
    for (const [who, what, atMost = ''] of waits) {
      const unknown = [...inCode(what ?? ''), ...inCode(atMost)].filter(
        (name) => /^--|Ms$/.test(name) && !known.has(name),
      );
      expect(unknown, `${who ?? ''}: ${what ?? ''}`).toEqual([]);
      expect(atMost, `${who ?? ''}: ${what ?? ''}`).toMatch(/`|\d+ s, by|times as long|above|the same/);
    }
  });

  test('tells what each option that limits a wait is for', () => {
    const limits = Object.keys(defaultLimits).filter((name) => name.endsWith('TimeoutMs'));
    const told = new Set(waits.flatMap((cells) => cells.flatMap(inCode)));
    expect(limits.filter((name) => !told.has(`--${dashed(name)}`))).toEqual([]);
  });
});

test('no wait in the code has a number for its limit, or none', () => {
  const bare = [
    /\}, [\d_]+\)/, // setTimeout(() => { … }, 10_000)
    /\bdelay\([\d_]+/,
    /\btimeout(?:Ms)?: [\d_]+/,
    /\bAtomics\.wait\((?:[^,()]|\([^()]*\))+,(?:[^,()]|\([^()]*\))+,(?:[^,()]|\([^()]*\))+\)/,
    /\bsyscall\(SYS_futex, \w+, FUTEX_WAIT, \w+, nullptr/,
  ];
  const found = sources.flatMap(({ path, text }) =>
    text
      .split('\n')
      .flatMap((line, index) => (bare.some((one) => one.test(line)) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
  );
  expect(found).toEqual([]);
});

/** The cells of each row below a table's heading and rule. */
function tableAfter(heading: string): string[][] {
  const lines = section.slice(section.indexOf(heading)).split('\n');
  const end = lines.findIndex((line) => !line.startsWith('|'));
  return lines.slice(2, end).map((line) => line.slice(2, -2).split(' | '));
}

function inCode(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text);
}

function linkOf(cell: string): string {
  return /\]\(\.\.\/([^)]+)\)/.exec(cell)?.[1] ?? '';
}

/** `maxControlBytes` → `max-control-bytes` */
function dashed(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
