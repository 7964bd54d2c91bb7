/** Where the coordinator of a run that is under way can be asked: the options of commands that do so. */
import type { Command } from 'commander';
import { readRunFile, readToken } from '../coordinator/run-folder.js';
import { LockstepError } from '../src/errors.js';
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
  return dial({ endpoint: parseEndpoint(url), token, limits, maxMessageBytes: limits.maxControlBytes });
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
