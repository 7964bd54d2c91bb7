/**
 * One rank of the all-reduce benchmark, a process of its own: a worker's comm thread, its shared memory and its step words,
 * as in a run; where a worker computes, this marks gradients ready.
 */
import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import { defaultBucketBytes } from '../../src/collective/buckets.js';
import { sgd } from '../../src/optimizer/config.js';
import { assert, toLockstepError } from '../../src/errors.js';
import { defaultLimits } from '../../src/protocol/limits.js';
import type { FlatMemory } from '../../src/state/memory.js';
import { toPlainError } from '../comm/channel.js';
import { CommLink } from '../comm/comm-link.js';
import { makeSharedSteps } from '../../src/flight/step-ring.js';
import { makeCommTimes } from '../comm/comm-times.js';
import { planGeneration } from '../comm/generation-plan.js';
import { LocalReduction } from '../comm/local-reduction.js';
import { makeRunMemory } from '../comm/run-memory.js';
import { blockMs, StepWords } from '../comm/step-words.js';
import { findSharedPages } from '../compute/engine/native-build.js';
import { Inbox } from '../inbox.js';
import { checkSums, clearPayload, fillPayload, payloadLayout } from './payload.js';
import type { FromRank, Repeats, ToRank } from './rank-channel.js';

type Start = Extract<ToRank, { type: 'start' }>;
type Measure = Extract<ToRank, { type: 'measure' }>;

class Rank {
  readonly #link: CommLink;
  readonly #inbox: Inbox;
  /** Null: ranks do not read one another's memory. */
  readonly #pagesPath: string | null;

  private constructor(link: CommLink, inbox: Inbox, pagesPath: string | null) {
    this.#pagesPath = pagesPath;
    this.#link = link;
    this.#inbox = inbox;
  }

  static async start({ workerId, coordinator, token, listen }: Start): Promise<Rank> {
    const inbox = new Inbox();
    const sharedPagesPath = listen === null ? findSharedPages() : null;
    const link = await CommLink.start(
      { workerId, coordinator, token, limits: defaultLimits, listen, sharedPagesPath },
      {
        onMessage: (message) => {
          inbox.add(message);
        },
        onOfGeneration: (message) => {
          inbox.add(message);
        },
        onFailure: (error) => {
          inbox.fail(error);
        },
      },
      { debug: ignore, info: ignore, warn: complain, error: complain },
    );
    send({ type: 'listening', addresses: link.addresses });
    return new Rank(link, inbox, sharedPagesPath);
  }

  async measure({ rank, numRanks, repeats }: Measure): Promise<void> {
    const common = {
      slots: numRanks,
      bucketBytes: defaultBucketBytes,
      wire: 'float32',
      optimizer,
      onNotFinite: 'stop',
      computeThreads,
    } as const;
    const layout = payloadLayout(repeats.bytes, common);
    const { memory, sharedMemory, pages } = makeRunMemory({ ...common, layout, sharedPagesPath: this.#pagesPath });
    const times = makeCommTimes();
    const own = { ...common, runId: 'bench', memory: memory.share(), sharedMemory };
    this.#link.prepare({ ...own, times, stepAddonPath: null, steps: makeSharedSteps() });
    send({ type: 'prepared' });
    const { entry } = await this.#inbox.next('enter');
    this.#link.rest(entry.generation.generation, true);
    const { begun } = await this.#inbox.next('begin');
    const words = new StepWords(begun.words);
    const plan = planGeneration({ ...common, generation: begun.generation, rank, layout });
    const turn = (): Promise<void> => this.#inbox.unlessFailed(turnOfTheEventLoop());
    const local = new LocalReduction({ plan, memory, pages, optimizer, words, times, turn });
    const reduce = begun.inMemory ? (step: number) => local.reduce(step) : (step: number) => reduceAside(words, step);
    const reducing = timeRepeats(memory, reduce, { ...repeats, rank, numRanks });
    send({ type: 'measured', seconds: await this.#inbox.unlessFailed(reducing) });
  }

  async close(): Promise<void> {
    await this.#link.close();
    process.disconnect();
  }
}

/** As on a host whose cores all compute: so it reduces in memory where it can. */
const computeThreads = Infinity;

/** Of no use: no part of the payload is trained. */
const optimizer = sgd();

/** Checked before what is timed and again after it: of an odd and an even step, which lie in different places. */
const numChecked = 2;

/** In the comm thread. */
async function reduceAside(words: StepWords, step: number): Promise<void> {
  words.markReady(step);
  if (!words.blockUntilCommitted(step, blockMs)) await words.committed(step);
}

/**
 * Seconds of one all-reduce, the mean over the timed ones. Sums may take the place of what was summed, as Gloo's do, so each
 * checked one gets a payload of its own, written as soon as the one before is committed. What is timed are zeros: they stay
 * finite however often they are summed in place.
 */
async function timeRepeats(
  memory: FlatMemory,
  reduceStep: (step: number) => Promise<unknown>,
  { rank, numRanks, numWarmups, numTimed }: Repeats & { readonly rank: number; readonly numRanks: number },
): Promise<number> {
  let step = 0;
  const reduce = async (times: number): Promise<void> => {
    for (const end = step + times; step < end; step++) await reduceStep(step);
  };
  const check = async (): Promise<void> => {
    for (let round = 1; round <= numChecked; round++) {
      fillPayload(memory, rank, round);
      await reduce(1);
      checkSums(memory, numRanks, round);
    }
  };
  await check();
  clearPayload(memory, rank);
  await reduce(numWarmups);
  const startedMs = performance.now();
  await reduce(numTimed);
  const seconds = (performance.now() - startedMs) / 1000 / numTimed;
  await check();
  return seconds;
}

function send(message: FromRank): void {
  process.send?.(message);
}

function ignore(): void {
  // What a worker tells of its connections is of no interest here.
}

function complain(message: string): void {
  process.stderr.write(`${message}\n`);
}

let rank: Promise<Rank> | null = null;

async function onMessage(message: ToRank): Promise<void> {
  if (message.type === 'start') rank = Rank.start(message);
  const started = await rank;
  assert(started, 'a rank is started before it measures');
  if (message.type === 'measure') await started.measure(message);
  if (message.type === 'end') await started.close();
}

process.on('message', (message: ToRank) => {
  onMessage(message).catch((thrown: unknown) => {
    send({ type: 'failed', error: toPlainError(toLockstepError(thrown)) });
  });
});
process.once('disconnect', () => process.exit());
