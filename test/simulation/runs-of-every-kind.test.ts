/** Whole runs over a virtual network, clock and disk: docs/simulation.md. */
import { it } from 'vitest';
import { expectAllHold, perTest, seeds, timeoutMs } from './run/check.js';

it.each(seeds(500, 5))(
  'all of it at once changes no bit, seed %i',
  (seed) => {
    expectAllHold({ family: 'everything', seed, numRuns: perTest });
  },
  timeoutMs,
);
