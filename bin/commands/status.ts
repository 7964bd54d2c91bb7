/** `lockstep status`: how a run stands, asked of its coordinator. */
import { Command } from 'commander';
import { statusSchema, type Status } from '../../src/protocol/messages.js';
import { addRunAddress, reachRun, type RunAddressOptions } from '../run-address.js';

interface StatusOptions extends RunAddressOptions {
  readonly json: boolean;
}

export function statusCommand(): Command {
  const command = new Command('status')
    .description('show how a run stands')
    .option('--json', 'one JSON object on stdout', false);
  return addRunAddress(command).action(async (options: StatusOptions) => {
    const status = await askStatus(options);
    process.stdout.write(options.json ? `${JSON.stringify(status)}\n` : `${describe(status).join('\n')}\n`);
  });
}

async function askStatus(options: StatusOptions): Promise<Omit<Status, 'type'>> {
  const connection = await reachRun(options);
  connection.send({ type: 'watch' });
  const timeoutMs = options.authenticationTimeoutMs;
  const { type: _type, ...status } = await connection.receive(statusSchema, { what: 'status', timeoutMs });
  connection.close();
  await connection.closed;
  return status;
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
