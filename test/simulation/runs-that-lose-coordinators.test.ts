/** Whole runs over a virtual network, clock and disk: docs/simulation.md. */
import { it } from 'vitest';
import { expectAllHold, perTest, seeds, timeoutMs } from './run/check.js';

it.each(seeds(600, 5))(
  'a coordinator that dies, or is replaced, costs no step and no bit, seed %i',
  (seed) => {
    expectAllHold({ family: 'returns', seed, numRuns: perTest });
  },
  timeoutMs,
);
