/** Whole runs over a virtual network, clock and disk: docs/simulation.md. */
import { it } from 'vitest';
import { expectAllHold, perTest, seeds, timeoutMs } from './run/check.js';

it.each(seeds(400, 2))(
  'a checkpoint is whole, or is passed over, seed %i',
  (seed) => {
    expectAllHold({ family: 'disks', seed, numRuns: perTest });
  },
  timeoutMs,
);
