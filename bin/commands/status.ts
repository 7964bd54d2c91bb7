/** `lockstep status`: how a run stands, asked of its coordinator. */
import { Command } from 'commander';
import { readRunFile, readToken } from '../../coordinator/run-folder.js';
import { LockstepError } from '../../src/errors.js';
import { statusSchema, type Status } from '../../src/protocol/messages.js';
import { dial } from '../../transport/dialler.js';
import type { Limits } from '../../src/protocol/limits.js';
import { parseEndpoint } from '../../transport/endpoint.js';
import { addLimits, coordinatorLimits, limitsOf } from '../options.js';

const othersLimits = [
  'maxConnections',
  'connectTimeoutMs',
  'heartbeatTimeoutMs',
  'coordinatorTimeoutMs',
  ...coordinatorLimits,
] as const;

interface StatusOptions extends Pick<Limits, 'maxControlBytes' | 'authenticationTimeoutMs'> {
  readonly runDir?: string;
  readonly url?: string;
  readonly tokenFile?: string;
  readonly json: boolean;
}

export function statusCommand(): Command {
  const command = new Command('status')
    .description('show how a run stands')
    .option('--run-dir <dir>', 'the run directory, on this host')
    .option('--url <url>', 'where the coordinator listens')
    .option('--token-file <file>', "the coordinator's secret (default: the run directory's)")
    .option('--json', 'one JSON object on stdout', false);
  return addLimits(command, othersLimits).action(async (options: StatusOptions) => {
    const status = await askStatus(options);
    process.stdout.write(options.json ? `${JSON.stringify(status)}\n` : `${describe(status).join('\n')}\n`);
  });
}

async function askStatus(options: StatusOptions): Promise<Omit<Status, 'type'>> {
  const { url, tokenFile } = await locate(options);
  const limits = { ...limitsOf(options), connectTimeoutMs: 1 }; // one try: the run is there or it is not
  const token = tokenFile === null ? null : await readToken(tokenFile);
  const connection = await dial({
    endpoint: parseEndpoint(url),
    token,
    limits,
    maxMessageBytes: limits.maxControlBytes,
  });
  connection.send({ type: 'watch' });
  const timeoutMs = limits.authenticationTimeoutMs;
  const { type: _type, ...status } = await connection.receive(statusSchema, { what: 'status', timeoutMs });
  connection.close();
  await connection.closed;
  return status;
}

async function locate({ runDir, url, tokenFile }: StatusOptions): Promise<{ url: string; tokenFile: string | null }> {
  if (url !== undefined) return { url, tokenFile: tokenFile ?? null };
  if (runDir === undefined) throw new LockstepError('ERR_USAGE', 'Which run? Give --run-dir DIR or --url URL.');
  const run = await readRunFile(runDir);
  return { url: run.url, tokenFile: tokenFile ?? run.tokenFile };
}

function describe({
  name,
  runId,
  state,
  step,
  totalSteps,
  epoch,
  loss,
  reason,
  workers,
  checkpoint,
}: Omit<Status, 'type'>): string[] {
  return [
    `${name} (run ${runId}): ${state}, step ${step} of ${totalSteps ?? '?'}, epoch ${epoch}, loss ${loss?.toFixed(4) ?? 'none yet'}`,
    ...(reason === null ? [] : [reason]),
    `checkpoint: ${checkpoint ?? 'none yet'}`,
    ...workers.map(
      ({ workerId, rank, host, pid, device, slots, step: committed, state: doing, waiting, straggler }) => {
        const held = slots ? `slots ${slots[0]} to ${slots[1] - 1}` : 'no slots yet';
        const slow = straggler
          ? `, ${straggler.factor.toFixed(1)} times as slow as the others (${straggler.phase})`
          : '';
        return `  ${workerId}: rank ${rank ?? '-'}, pid ${pid} on ${host}, ${device || 'loading'}, ${held}, step ${committed}, ${doing}${slow}${waiting ? `; ${waiting}` : ''}`;
      },
    ),
  ];
}
