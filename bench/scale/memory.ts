/** What one worker keeps in memory for the flat state, by what it is for, as the real region plan has it. */
import { reductionTree } from '../../src/collective/tree.js';
import { adam } from '../../src/optimizer/config.js';
import { planRegions } from '../../worker/comm/regions.js';
import { flatLayout, type Collective } from './collective.js';

export interface MemoryUse {
  readonly parameters: number;
  readonly moments: number;
  readonly gradients: number;
  readonly inboxes: number;
  readonly reduced: number;
  readonly other: number;
  readonly total: number;
}

const floatBytes = 4;

/** Bytes of rank 0, with Adam. */
export function memoryOf(collective: Collective, numBytes: number): MemoryUse {
  const regions = planRegions({
    layout: flatLayout(numBytes),
    plan: collective.plan,
    tree: reductionTree(collective.numWorkers),
    optimizer: adam(),
  });
  const use = { parameters: 0, moments: 0, gradients: 0, inboxes: 0, reduced: 0, other: 0, total: 0 };
  for (const { name, elements } of regions) {
    const bytes = elements.reduce((sum, count) => sum + count, 0) * floatBytes;
    use[kindOf(name)] += bytes;
    use.total += bytes;
  }
  return use;
}

function kindOf(region: string): Exclude<keyof MemoryUse, 'total'> {
  if (region === 'parameters' || region === 'reduced') return region;
  if (region.startsWith('moment')) return 'moments';
  if (region.startsWith('slot:')) return 'gradients';
  return region.startsWith('inbox:') ? 'inboxes' : 'other';
}
