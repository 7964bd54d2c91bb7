/** `journal.json` of a run directory, as a file: written aside, flushed where it has to outlast a power cut, and renamed. */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { journalSchema, type JournalContent, type JournalFile } from './journal.js';

export function journalFile(runDir: string): JournalFile {
  return {
    read: () => readJournal(runDir),
    replace: (content, options) => {
      replace(runDir, content, options);
    },
  };
}

/** Null where there is none, or where it cannot be read: then the workers know what it said. */
export function readJournal(runDir: string): JournalContent | null {
  try {
    return journalSchema.parse(JSON.parse(readFileSync(fileIn(runDir), 'utf8')));
  } catch {
    return null;
  }
}

function fileIn(runDir: string): string {
  return join(runDir, 'journal.json');
}

function replace(runDir: string, content: JournalContent, { isDurable }: { readonly isDurable: boolean }): void {
  const aside = `${fileIn(runDir)}.tmp`;
  const file = openSync(aside, 'w', 0o600);
  try {
    // To its end: a single write may take less where the disk is nearly full.
    writeFileSync(file, `${JSON.stringify(content, null, 2)}\n`);
    if (isDurable) fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(aside, fileIn(runDir));
  if (isDurable) syncFolder(runDir);
}

/** Without this, a power cut can forget the rename. */
function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } catch (error) {
    const isUnsupported = error instanceof Error && 'code' in error && noFolderSync.includes(error.code);
    if (!isUnsupported) throw error;
  } finally {
    closeSync(folder);
  }
}

/** What file systems answer that have no flush of a folder. */
const noFolderSync: readonly unknown[] = ['EINVAL', 'EISDIR', 'ENOTSUP', 'EPERM'];
