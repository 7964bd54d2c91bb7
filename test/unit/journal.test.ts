/** The journal of a run directory: whole or not there, durable where it has to be, and only one coordinator's. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import type * as fs from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Journal, type JournalContent } from '../../coordinator/journal.js';
import { journalFile, readJournal } from '../../coordinator/journal-file.js';
import type { Log } from '../../src/log.js';

const ignore = (): void => undefined;
const silent: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore };

/** What is done to the file system, in order: "open journal.json.tmp", "sync journal.json.tmp", … */
const { calls } = vi.hoisted(() => ({ calls: [] as string[] }));

vi.mock('node:fs', async (importOriginal) => {
  const real = await importOriginal<typeof fs>();
  const names = new Map<number, string>();
  const nameOf = (path: fs.PathLike | number): string =>
    typeof path === 'number' ? (names.get(path) ?? 'unknown') : (String(path).split('/').at(-1) ?? '');
  const openSync: typeof fs.openSync = (path, flags, mode) => {
    const file = real.openSync(path, flags, mode);
    names.set(file, nameOf(path));
    calls.push(`open ${nameOf(path)}`);
    return file;
  };
  const writeFileSync: typeof fs.writeFileSync = (path, data, options) => {
    calls.push(`write ${nameOf(path)}`); // no call here writes to a FileHandle
    real.writeFileSync(path, data, options);
  };
  const fsyncSync: typeof fs.fsyncSync = (file) => {
    calls.push(`sync ${nameOf(file)}`);
    real.fsyncSync(file);
  };
  const renameSync: typeof fs.renameSync = (from, to) => {
    calls.push(`rename ${nameOf(from)} to ${nameOf(to)}`);
    real.renameSync(from, to);
  };
  return { ...real, openSync, writeFileSync, fsyncSync, renameSync };
});

const begun: Omit<JournalContent, 'version' | 'owner'> = {
  ...{ runId: 'r', term: 1, host: hostname(), process: null, url: '', ended: false, facts: { 'job file': 'x' } },
  ...{ steps: null, numWanted: 2, slots: 2, threads: 1, resume: null, metricsBytes: 0, generation: 0, roster: [] },
  ...{ checkpoint: null, recoveries: [], launched: [] },
};

let runDir: string;
beforeEach(() => {
  runDir = join(mkdtempSync(join(tmpdir(), 'lockstep-journal-')), 'run');
  mkdirSync(runDir);
  calls.length = 0;
});
afterEach(() => {
  rmSync(join(runDir, '..'), { recursive: true });
});

let numBegun = 0;
const begin = (changes: Partial<JournalContent> = {}, log = silent): Journal => {
  return Journal.begin(journalFile(runDir), { ...begun, owner: `owner ${numBegun++}`, ...changes }, log);
};
const file = (): string => join(runDir, 'journal.json');

describe('a journal', () => {
  it('says what was noted last', () => {
    const journal = begin();
    journal.note({ url: 'ws://h:1' });
    journal.note({ generation: 3, checkpoint: { step: 7, path: '/c7' } });
    expect(readJournal(runDir)).toEqual(journal.content);
    expect(journal.content).toMatchObject({ url: 'ws://h:1', generation: 3, checkpoint: { step: 7 } });
    expect(readdirSync(runDir)).toEqual(['journal.json']);
  });

  it('is on the disk under its name, the name too, before the run is this process’s', () => {
    begin();
    expect(calls).toEqual([
      'open journal.json.tmp',
      'write journal.json.tmp',
      'sync journal.json.tmp',
      'rename journal.json.tmp to journal.json',
      'open run',
      'sync run',
    ]);
  });

  it.each([
    ['the first generation', { generation: 1 }],
    ['a run that its workers have named', { runId: 'found', term: 5 }],
  ])('has %s on the disk before workers hear of it', (_what, changes) => {
    const journal = begin();
    calls.length = 0;
    journal.note(changes);
    expect(calls).toEqual(expect.arrayContaining(['sync journal.json.tmp', 'sync run']));
  });

  it('waits for no disk with what workers know too', () => {
    const journal = begin({ generation: 1 });
    calls.length = 0;
    journal.note({ generation: 2 });
    expect(calls).toEqual([
      'open journal.json.tmp',
      'write journal.json.tmp',
      'rename journal.json.tmp to journal.json',
    ]);
  });

  it.each([
    ['is cut off', (path: string): void => truncateSync(path, 100)],
    ['is empty', (path: string): void => truncateSync(path, 0)],
    ['is of another version', (path: string): void => change(path, { version: 2 })],
    ['has a term that is none', (path: string): void => change(path, { term: 0 })],
    ['has something that nobody knows', (path: string): void => change(path, { more: true })],
    ['is gone', (path: string): void => rmSync(path)],
  ])('that %s is nobody’s, and is written anew with what is known', (_what, damage) => {
    const journal = begin();
    damage(file());
    expect(readJournal(runDir)).toBeNull();
    expect(journal.keep()).toBe(true);
    journal.note({ generation: 5 });
    expect(readJournal(runDir)).toEqual(journal.content);
  });

  it('stays as it was where the next one was not written to its end, as by a process that died', () => {
    const journal = begin();
    writeFileSync(`${file()}.tmp`, readFileSync(file()).subarray(0, 50));
    expect(readJournal(runDir)).toEqual(journal.content);
    journal.note({ generation: 1 });
    expect(readJournal(runDir)).toMatchObject({ generation: 1 });
  });

  it('that cannot be written stays as it was, with a warning, and has it all once it can', () => {
    const warnings: string[] = [];
    const journal = begin({}, { ...silent, warn: (message: string) => warnings.push(message) });
    mkdirSync(`${file()}.tmp`); // nothing can be written there
    journal.note({ generation: 1 });
    expect(warnings).toEqual([expect.stringMatching(/^the journal of the run cannot be written: EISDIR/)]);
    expect(readJournal(runDir)).toMatchObject({ generation: 0 });
    rmSync(`${file()}.tmp`, { recursive: true });
    journal.note({ url: 'ws://h:1' });
    expect(readJournal(runDir)).toMatchObject({ generation: 1, url: 'ws://h:1' });
  });

  it('cannot begin where it cannot be written', () => {
    mkdirSync(`${file()}.tmp`);
    expect(() => begin()).toThrow(/EISDIR/);
    expect(readJournal(runDir)).toBeNull();
  });
});

describe('of two coordinators of a run directory', () => {
  it('the one of the higher term has the run, and the other one touches its journal no more', () => {
    const old = begin();
    const next = begin({ term: 2 });
    expect([old.keep(), next.keep()]).toEqual([false, true]);
    old.note({ generation: 9, ended: true });
    expect(readJournal(runDir)).toEqual(next.content);
  });

  it('of one term the last to begin has the run', () => {
    const first = begin();
    const second = begin();
    expect([first.keep(), second.keep()]).toEqual([false, true]);
  });

  it('one of a higher term takes the journal back from one that does not know of it, as was stopped, or found none', () => {
    const other = begin();
    const next = begin({ term: 2 });
    writeFileSync(file(), JSON.stringify(other.content));
    expect(other.keep()).toBe(true);
    expect(next.keep()).toBe(true);
    expect(readJournal(runDir)).toEqual(next.content);
    expect(other.keep()).toBe(false);
  });

  it('one whose workers have told it of a higher term has the run by that', () => {
    const found = begin();
    const old = begin({ term: 2 });
    found.note({ term: 4 });
    expect(readJournal(runDir)).toEqual(found.content);
    expect([old.keep(), found.keep()]).toEqual([false, true]);
  });

  it('one that has begun another run there has the folder, whatever the terms: they are of different runs', () => {
    const one = begin({ term: 3 });
    const other = begin({ runId: 'other' });
    one.note({ checkpoint: { step: 3, path: '/c3' } });
    expect(readJournal(runDir)).toEqual(other.content);
    expect([one.keep(), other.keep()]).toEqual([false, true]);
    one.note({ runId: 'found', term: 4 });
    expect(readJournal(runDir)).toEqual(other.content);
  });
});

function change(path: string, changes: object): void {
  writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, 'utf8')) as object), ...changes }));
}
