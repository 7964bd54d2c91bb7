/** Where the coordinator of a run that is under way can be asked: the options of commands that do so. */
import type { Command } from 'commander';
import { readJournal } from '../coordinator/journal-file.js';
import { readRunFile, readToken } from '../coordinator/run-folder.js';
import { LockstepError, toLockstepError } from '../src/errors.js';
import type { Limits } from '../src/protocol/limits.js';
import type { Connection } from '../transport/connection.js';
import { dial } from '../transport/dialler.js';
import { parseEndpoint } from '../transport/endpoint.js';
import { addLimits, coordinatorLimits, limitsOf } from './options.js';

const othersLimits = [
  'maxConnections',
  'connectTimeoutMs',
  'heartbeatTimeoutMs',
  'coordinatorTimeoutMs',
  ...coordinatorLimits,
] as const;

export interface RunAddressOptions extends Pick<Limits, 'maxControlBytes' | 'authenticationTimeoutMs'> {
  readonly runDir?: string;
  readonly url?: string;
  readonly tokenFile?: string;
}

export function addRunAddress(command: Command): Command {
  const addressed = command
    .option('--run-dir <dir>', 'the run directory, on this host')
    .option('--url <url>', 'where the coordinator listens')
    .option('--token-file <file>', "the coordinator's secret (default: the run directory's)");
  return addLimits(addressed, othersLimits);
}

/** A connection to the coordinator that has said nothing yet. */
export async function reachRun(options: RunAddressOptions): Promise<Connection> {
  const { url, tokenFile } = await locate(options);
  const limits = { ...limitsOf(options), connectTimeoutMs: 1 }; // one try: the run is there or it is not
  const token = tokenFile === null ? null : await readToken(tokenFile);
  const dialling = dial({ endpoint: parseEndpoint(url), token, limits, maxMessageBytes: limits.maxControlBytes });
  return dialling.catch((thrown: unknown) => {
    throw explained(toLockstepError(thrown), options);
  });
}

/** With what the run directory tells of a run whose coordinator cannot be reached. */
function explained(error: LockstepError, { runDir }: RunAddressOptions): LockstepError {
  const journal = runDir === undefined ? null : readJournal(runDir);
  if (journal === null || error.code !== 'ERR_CONNECT') return error;
  const { ended, host, roster } = journal;
  const standing = ended
    ? 'The run has ended.'
    : `Its coordinator on ${host} is gone or does not answer; ${roster.length} worker(s) may go on without it, and the ` +
      'command that began the run takes it back.';
  return new LockstepError(error.code, `${error.message} ${standing}`, { cause: error, details: error.details });
}

async function locate({ runDir, url, tokenFile }: RunAddressOptions): Promise<{
  readonly url: string;
  readonly tokenFile: string | null;
}> {
  if (url !== undefined) return { url, tokenFile: tokenFile ?? null };
  if (runDir === undefined) throw new LockstepError('ERR_USAGE', 'Which run? Give --run-dir DIR or --url URL.');
  const run = await readRunFile(runDir);
  return { url: run.url, tokenFile: tokenFile ?? run.tokenFile };
}
