/** What one worker keeps in memory for the flat state, by what it is for, as the real region plan has it. */
import { planRegions } from '../../worker/comm/regions.js';
import type { Collective } from './collective.js';

export interface MemoryUse {
  readonly parameters: number;
  readonly moments: number;
  readonly gradients: number;
  /** What comes from peers, and what is sent on. */
  readonly inboxes: number;
  readonly other: number;
  readonly total: number;
}

const floatBytes = 4;

/** Bytes of rank 0, with Adam. */
export function memoryOf({ layout, plan, optimizer }: Collective): MemoryUse {
  const regions = planRegions({ layout, plan, optimizer });
  const use = { parameters: 0, moments: 0, gradients: 0, inboxes: 0, other: 0, total: 0 };
  for (const { name, elements } of regions) {
    const bytes = elements.reduce((sum, count) => sum + count, 0) * floatBytes;
    use[kindOf(name)] += bytes;
    use.total += bytes;
  }
  return use;
}

function kindOf(region: string): Exclude<keyof MemoryUse, 'total'> {
  if (region === 'parameters') return region;
  if (region.startsWith('moment')) return 'moments';
  if (region.startsWith('slot:')) return 'gradients';
  return region === 'inbox' || region === 'relay' ? 'inboxes' : 'other';
}
