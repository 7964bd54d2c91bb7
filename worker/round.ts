/** What the compute thread has for one generation, and no longer. */
import { defaultBucketBytes } from '../src/collective/buckets.js';
import { ownedRanges } from '../src/collective/shard.js';
import { LockstepError } from '../src/errors.js';
import { Brake } from './brake.js';
import type { Sharding } from './checkpoint/tensors.js';
import type { Begun } from './comm/channel.js';
import type { CommLink } from './comm/comm-link.js';
import { planGeneration } from './comm/generation-plan.js';
import { StepWords } from './comm/step-words.js';
import type { Inbox } from './inbox.js';
import type { Prepared } from './preparation.js';
import { Readiness } from './readiness.js';
import type { Log } from '../src/log.js';
import type { FromWorker } from '../src/protocol/messages.js';

export interface Round {
  readonly begun: Begun;
  readonly words: StepWords;
  readonly readiness: Readiness;
  readonly brake: Brake;
  /** How moments are shared out; null: each worker holds them all. */
  readonly sharding: Sharding | null;
}

interface RoundOptions {
  readonly prepared: Prepared;
  readonly link: CommLink;
  readonly inbox: Inbox;
  readonly send: (message: FromWorker) => void;
  readonly log: Log;
}

export function enterRound({ prepared, link, inbox, send, log }: RoundOptions, begun: Begun): Round {
  const { plan, layout, loaded } = prepared;
  const { generation, self, words: shared, waker } = begun;
  const setup = { ...loaded.job, slots: plan.slots, layout, bucketBytes: defaultBucketBytes };
  const allReduce = planGeneration({ ...setup, generation, rank: self.rank });
  const { hosts, buckets, isSharded } = allReduce;
  if (hosts) log.info(`gradients are summed on each host first: ${hosts.numHosts} hosts of ${hosts.perHost} workers`);
  const words = new StepWords(shared);
  return {
    begun,
    words,
    readiness: new Readiness({ layout, buckets, words, waker }),
    brake: new Brake({ inbox, send, step: generation.step }),
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
