/**
 * Whether a run directory holds a run that has lost its coordinator, which the same command takes back: its workers may be at
 * work, and those that are gone as well are replaced. One whose coordinator answers is left alone.
 */
import { createReadStream, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import type { JournalContent } from '../coordinator/journal.js';
import { readJournal } from '../coordinator/journal-file.js';
import { MetricsRead } from '../coordinator/metrics-lines.js';
import { isRunning } from '../coordinator/process-mark.js';
import { metricsFile, readToken } from '../coordinator/run-folder.js';
import type { RecordBefore } from '../coordinator/run-record.js';
import { LockstepError } from '../src/errors.js';
import type { LoadedJob } from '../src/job/loaded-job.js';
import { listed } from '../src/listed.js';
import type { Log } from '../src/log.js';
import { compareFacts } from '../src/protocol/facts.js';
import type { Limits } from '../src/protocol/limits.js';
import { statusSchema } from '../src/protocol/messages.js';
import { dial } from '../transport/dialler.js';
import { parseEndpoint } from '../transport/endpoint.js';

export interface TakeBackOptions {
  readonly runDir: string;
  readonly loaded: LoadedJob;
  readonly steps: number | null;
  readonly resume: boolean;
  readonly tokenFile: string | undefined;
  readonly limits: Limits;
  readonly log: Log;
}

/** What is left of a run. */
export interface LeftRun {
  readonly journal: JournalContent;
  /** Whether this command takes it back; else it begins a new start of it, from a checkpoint. */
  readonly isTakenBack: boolean;
}

/**
 * Null where no run has been in the folder, or it has ended.
 *
 * @throws LockstepError ERR_RUN_DIR where it has a coordinator, or this is another command than it began with
 */
export async function findLeftRun(options: TakeBackOptions): Promise<LeftRun | null> {
  const { runDir, loaded, steps, resume, log } = options;
  const journal = readJournal(runDir);
  if (!journal) return null;
  if (journal.ended) return { journal, isTakenBack: false };
  if (await hasCoordinator(journal, options)) {
    const who = journal.process ? `process ${journal.process.pid} on ${journal.host}` : journal.host;
    throw new LockstepError('ERR_RUN_DIR', `${runDir} holds a run that ${who} coordinates. Choose another --run-dir.`);
  }
  const differences = compareFacts(journal.facts, loaded.facts);
  if (steps !== journal.steps) differences.push(`--steps was ${journal.steps ?? 'none'} and is ${steps ?? 'none'}`);
  if (differences.length === 0) {
    log.info(`takes back run ${journal.runId}, which has lost its coordinator`, { runId: journal.runId });
    return { journal, isTakenBack: true };
  }
  if (resume) return { journal, isTakenBack: false };
  const message = `${runDir} holds a run of another job that has lost its coordinator: ${listed(differences, 5)}.`;
  throw new LockstepError(
    'ERR_RUN_DIR',
    `${message} Give the command that it began with to take it back, or --resume to begin anew from its last checkpoint.`,
  );
}

/** What its coordinator has written of it: all is in the files of the run. */
export async function readRecord(runDir: string, journal: JournalContent): Promise<Omit<RecordBefore, 'injections'>> {
  const { recoveries, checkpoint, metricsBytes } = journal;
  const read = new MetricsRead();
  const file = createReadStream(metricsFile(runDir), { start: metricsBytes });
  for await (const line of createInterface({ input: file })) read.add(line);
  return { ...read.record, recoveries, checkpoint };
}

/** Bytes of metrics.jsonl so far. */
export function metricsSize(runDir: string): number {
  return statSync(metricsFile(runDir)).size;
}

/** It lives, and answers: one that is stopped, or cut off, is replaced, and ends when it finds that out. */
async function hasCoordinator(
  { host, process: mark, url, runId }: JournalContent,
  { runDir, tokenFile, limits }: TakeBackOptions,
): Promise<boolean> {
  if (host === hostname() && mark && !isRunning(mark)) return false;
  const authenticationTimeoutMs = Math.min(limits.authenticationTimeoutMs, answerTimeoutMs);
  const once = { ...limits, authenticationTimeoutMs, connectTimeoutMs: 1 };
  try {
    const token = await readToken(tokenFile ?? join(runDir, 'token'));
    const endpoint = parseEndpoint(url);
    const connection = await dial({ endpoint, token, limits: once, maxMessageBytes: limits.maxControlBytes });
    connection.send({ type: 'watch' });
    const status = await connection.receive(statusSchema, { what: 'status', timeoutMs: answerTimeoutMs });
    connection.terminate();
    return status.runId === runId;
  } catch {
    return false;
  }
}

/** Longer than a coordinator that lives takes to answer. */
const answerTimeoutMs = 3_000;
