/** `lockstep scale N`: how many workers a run is to have from now on. */
import { Command } from 'commander';
import { isErrorCode, LockstepError } from '../../src/errors.js';
import { scaleAnswerSchema } from '../../src/protocol/messages.js';
import { positiveInteger } from '../options.js';
import { addRunAddress, reachRun, type RunAddressOptions } from '../run-address.js';

export function scaleCommand(): Command {
  const command = new Command('scale')
    .description('change how many workers a run wants')
    .argument('<n>', 'workers from now on', positiveInteger);
  return addRunAddress(command).action(async (numWorkers: number, options: RunAddressOptions) => {
    const connection = await reachRun(options);
    connection.send({ type: 'scale', numWorkers });
    const timeoutMs = options.authenticationTimeoutMs;
    const answer = await connection.receive(scaleAnswerSchema, { what: 'answer', timeoutMs });
    connection.close();
    await connection.closed;
    if (answer.type === 'scaled') {
      process.stdout.write(
        `The run wants ${numWorkers} worker(s) from now on, and wanted ${answer.numBefore} before.\n`,
      );
      return;
    }
    const { code, message } = answer.failure;
    throw new LockstepError(isErrorCode(code) ? code : 'ERR_PROTOCOL', message);
  });
}
