/** Whole runs over a virtual network, clock and disk: docs/simulation.md. */
import { it } from 'vitest';
import { expectAllHold, perTest, seeds, timeoutMs } from './run/check.js';

it.each(seeds(700, 3))(
  'with shares of the moments, all of it at once changes no bit, seed %i',
  (seed) => {
    expectAllHold({ family: 'sharded', seed, numRuns: perTest });
  },
  timeoutMs,
);
