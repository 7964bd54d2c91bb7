/** What a worker does that ends with no coordinator to be seen: the first of those that are left writes the state down. */
import { hostname } from 'node:os';
import { LockstepError, toLockstepError } from '../src/errors.js';
import type { FlatMemory } from '../src/state/memory.js';
import { checkpointFacts, checkpointsOf } from './checkpoint-facts.js';
import type { Checkpoints } from './checkpoint/checkpoints.js';
import type { Left } from './comm/channel.js';
import type { Prepared } from './preparation.js';

interface Leaver {
  readonly prepared: Prepared;
  readonly memory: FlatMemory;
  readonly checkpoints: Checkpoints;
}

/** The error, with where the run can go on from. */
export async function leaveBehind(
  { code, message }: LockstepError,
  { step, isFirst }: Left,
  { prepared, memory, checkpoints }: Leaver,
): Promise<LockstepError> {
  if (!isFirst) {
    const folder = checkpointsOf(prepared);
    return new LockstepError(code, `${message} A worker of a lower rank writes its state down, in ${folder}.`);
  }
  try {
    const path = await checkpoints.leave(checkpointFacts(prepared, memory, step));
    const where = prepared.files.isHere ? path : `${path} on ${hostname()}`;
    const next = `The state after step ${step} is ${where}; go on from it with --resume.`;
    return new LockstepError(code, `${message} ${next}`, { details: { step, checkpoint: path } });
  } catch (thrown) {
    const cause = toLockstepError(thrown, 'ERR_CHECKPOINT_WRITE');
    return new LockstepError(code, `${message} Its state is lost: ${cause.message}`, { cause, details: { step } });
  }
}
