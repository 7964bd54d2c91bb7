/** What a run that is under way says of itself. */
import { statusSchema, type Status } from '../../src/protocol/messages.js';
import { lockstepDone } from './lockstep-command.js';

const plainStatus = statusSchema.omit({ type: true });

/** `lockstep status --run-dir DIR --json`, asked again until it is as wanted. */
export async function runningStatus(
  runDir: string,
  wanted: (status: Omit<Status, 'type'>) => boolean,
): Promise<Omit<Status, 'type'>> {
  for (;;) {
    const { stdout } = await lockstepDone(['status', '--run-dir', runDir, '--json']);
    const status = plainStatus.parse(JSON.parse(stdout.join('\n')));
    if (wanted(status)) return status;
  }
}
