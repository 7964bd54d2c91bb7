/** The flat memory of a generation; peers of this host can read it where there are any, and where the addon is there. */
import type { WireFormat } from '../../src/collective/wire.js';
import type { AllReducePlan } from '../../src/collective/plan.js';
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import type { Generation, SharedMemory } from '../../src/protocol/messages.js';
import type { Layout } from '../../src/state/layout.js';
import { FlatMemory } from '../../src/state/memory.js';
import { makeCommTimes, type CommTimes } from './comm-times.js';
import { planGeneration } from './generation-run.js';
import { planRegions } from './regions.js';
import { SharedPages } from './shared-pages.js';
import { makeStepWords, type SharedStepWords } from './step-words.js';

export interface GenerationMemoryOptions {
  readonly generation: Generation;
  readonly rank: number;
  readonly slots: number;
  readonly layout: Layout;
  readonly bucketBytes: number;
  readonly wire: WireFormat;
  readonly optimizer: OptimizerConfig;
  /** The first step, counted from 0. */
  readonly step: number;
  readonly sharedPagesPath: string | null;
}

export interface GenerationMemory {
  readonly plan: AllReducePlan;
  /** All zeros. */
  readonly memory: FlatMemory;
  readonly sharedMemory: SharedMemory | null;
  readonly words: SharedStepWords;
  readonly times: CommTimes;
}

/** @throws LockstepError ERR_MEMORY */
export function makeGenerationMemory(options: GenerationMemoryOptions): GenerationMemory {
  const { layout, optimizer, step, sharedPagesPath } = options;
  const plan = planGeneration(options);
  const pages = sharedPagesPath !== null && hasNeighbours(options) ? SharedPages.load(sharedPagesPath) : null;
  const memory = FlatMemory.create(layout, planRegions({ layout, plan, optimizer, shared: pages !== null }));
  return {
    plan,
    memory,
    sharedMemory: pages?.share(memory) ?? null,
    words: makeStepWords(step, plan.buckets.length),
    times: makeCommTimes(),
  };
}

/** Whether another worker can be reached by its Unix socket. */
function hasNeighbours({ generation: { workers }, rank }: GenerationMemoryOptions): boolean {
  const self = workers[rank]?.addresses;
  return workers.some(
    (peer) => peer.rank !== rank && peer.addresses.hostId === self?.hostId && peer.addresses.unixPath !== null,
  );
}
