/** What the compute thread has for one generation, and no longer. */
import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import { defaultBucketBytes } from '../src/collective/buckets.js';
import type { AllReducePlan } from '../src/collective/plan.js';
import { ownedRanges } from '../src/collective/shard.js';
import { LockstepError } from '../src/errors.js';
import { Brake } from './brake.js';
import type { Sharding } from './checkpoint/tensors.js';
import type { Begun } from './comm/channel.js';
import type { CommLink } from './comm/comm-link.js';
import type { CommTimes } from './comm/comm-times.js';
import { planGeneration } from './comm/generation-plan.js';
import { LocalReduction } from './comm/local-reduction.js';
import type { SharedPages } from './comm/shared-pages.js';
import { StepWords } from './comm/step-words.js';
import { commitByCommThread, commitHere, type Commit } from './commit.js';
import { DueFaults } from './due-faults.js';
import type { Inbox } from './inbox.js';
import type { Prepared } from './preparation.js';
import { Readiness } from './readiness.js';
import type { Log } from '../src/log.js';
import type { FromWorker } from '../src/protocol/messages.js';
import type { FlatMemory } from '../src/state/memory.js';

export interface Round {
  readonly begun: Begun;
  readonly words: StepWords;
  readonly readiness: Readiness;
  readonly brake: Brake;
  readonly commit: Commit;
  readonly faults: DueFaults;
  /** How moments are shared out; null: each worker holds them all. */
  readonly sharding: Sharding | null;
}

interface RoundOptions {
  readonly prepared: Prepared;
  readonly memory: FlatMemory;
  readonly times: CommTimes;
  readonly pages: SharedPages | null;
  readonly link: CommLink;
  readonly inbox: Inbox;
  readonly send: (message: FromWorker) => void;
  readonly log: Log;
}

export function enterRound(options: RoundOptions, begun: Begun): Round {
  const { prepared, link, inbox, send, log } = options;
  const { plan, layout, loaded } = prepared;
  const { generation, self, words: shared, inMemory } = begun;
  // Who reduces looks by itself.
  const waker = inMemory ? 0 : begun.waker;
  const setup = { ...loaded.job, slots: plan.slots, layout, bucketBytes: defaultBucketBytes };
  const allReduce = planGeneration({ ...setup, generation, rank: self.rank });
  const { hosts, buckets, isSharded } = allReduce;
  if (hosts) log.info(`gradients are summed on each host first: ${hosts.numHosts} hosts of ${hosts.perHost} workers`);
  const words = new StepWords(shared);
  return {
    begun,
    words,
    readiness: new Readiness({ layout, buckets, words, waker, numMeasures: 1 + prepared.step.metricNames.length }),
    brake: new Brake({ inbox, send, step: generation.step }),
    faults: new DueFaults(begun.faults, self.rank),
    commit: inMemory ? commitInMemory(options, { plan: allReduce, words }) : commitByCommThread(words, inbox),
    sharding: isSharded
      ? {
          ranges: ownedRanges(allReduce),
          buckets,
          gather: async (region, bucket) => {
            if (await inbox.unlessFailed(link.gatherMoments(region, bucket))) return;
            const message = `The moments of bucket ${bucket} were not gathered: the generation ended.`;
            throw new LockstepError('ERR_STEP_FAILED', message);
          },
        }
      : null,
  };
}

function commitInMemory(
  { prepared, memory, times, pages, inbox, log }: RoundOptions,
  { plan, words }: { readonly plan: AllReducePlan; readonly words: StepWords },
): Commit {
  const { optimizer, onNotFinite } = prepared.loaded.job;
  const turn = (): Promise<void> => inbox.unlessFailed(turnOfTheEventLoop());
  const onSkipped = (why: string): void => {
    log.warn(why);
  };
  const reduction = new LocalReduction({ plan, memory, pages, native: pages, optimizer, words, times, turn });
  return commitHere({ reduction, inbox, rank: plan.rank, onNotFinite, onSkipped });
}
