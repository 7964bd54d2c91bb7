/** How a step whose partials are ready becomes committed: by the comm thread, or by this thread where the reduction is local. */
import { setImmediate as turnOfTheEventLoop, setTimeout as delay } from 'node:timers/promises';
import type { LocalReduction } from './comm/local-reduction.js';
import { namingMs, notFiniteError, skippedText, type NotFinite } from './comm/finiteness.js';
import { blockMs, type StepWords } from './comm/step-words.js';
import type { Inbox } from './inbox.js';

/**
 * Resolves when the step is committed; false: it will not be in this generation.
 *
 * @param isIdle there is nothing to do for this thread but to wait
 * @throws LockstepError ERR_NOT_FINITE; what failed the run meanwhile
 */
export type Commit = (step: number, isIdle: () => boolean) => Promise<boolean>;

/**
 * Lets messages come in and rows be read, once a step at least. Then, with nothing else to do, this thread blocks for a
 * while, which wakes sooner than its event loop does.
 */
export function commitByCommThread(words: StepWords, inbox: Inbox): Commit {
  return async (step, isIdle) => {
    await inbox.unlessFailed(turnOfTheEventLoop());
    if (isIdle() && words.blockUntilCommitted(step, blockMs)) return true;
    return inbox.unlessFailed(words.committed(step));
  };
}

export interface OwnCommitOptions {
  readonly reduction: LocalReduction;
  readonly inbox: Inbox;
  readonly rank: number;
  readonly onNotFinite: 'stop' | 'skip';
  readonly onSkipped: (why: string) => void;
}

export function commitHere(options: OwnCommitOptions): Commit {
  const { reduction, inbox, rank, onNotFinite, onSkipped } = options;
  const stop = async (step: number, found: NotFinite): Promise<never> => {
    // Whoever has the slot tells at once.
    if (found.slot === null) await inbox.unlessFailed(delay(namingMs));
    throw notFiniteError(step, found);
  };
  return async (step) => {
    const outcome = await reduction.reduce(step);
    if (outcome.type !== 'not-finite') return outcome.type === 'committed';
    if (onNotFinite === 'stop') return stop(step, outcome.found);
    const why = skippedText(step, outcome.found, rank);
    if (why !== null) onSkipped(why);
    return reduction.skip(step);
  };
}
