/** Whole runs over a virtual network, clock and disk: docs/simulation.md. */
import { it } from 'vitest';
import { expectAllHold, perTest, seeds, timeoutMs } from './run/check.js';

it.each(seeds(300, 3))(
  'workers come and go, and the run stops, without a trace in the bits, seed %i',
  (seed) => {
    expectAllHold({ family: 'comings and goings', seed, numRuns: perTest });
  },
  timeoutMs,
);
