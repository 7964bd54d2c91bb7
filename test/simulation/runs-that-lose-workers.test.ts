/** Whole runs over a virtual network, clock and disk: docs/simulation.md. */
import { it } from 'vitest';
import { expectAllHold, perTest, seeds, timeoutMs } from './run/check.js';

it.each(seeds(100, 3))(
  'what is lost with workers comes back, seed %i',
  (seed) => {
    expectAllHold({ family: 'crashes', seed, numRuns: perTest });
  },
  timeoutMs,
);
