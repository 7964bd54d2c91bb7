/** Whole runs over a virtual network, clock and disk: docs/simulation.md. */
import { it } from 'vitest';
import { expectAllHold, perTest, seeds, timeoutMs } from './run/check.js';

it.each(seeds(200, 4))(
  'who hangs, or is cut off or late, changes no bit, seed %i',
  (seed) => {
    expectAllHold({ family: 'silences', seed, numRuns: perTest });
  },
  timeoutMs,
);
