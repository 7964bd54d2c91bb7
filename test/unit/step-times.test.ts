import { expect, it } from 'vitest';
import { makeSharedSteps, StepRing } from '../../src/flight/step-ring.js';
import {
  awaitedIndex,
  awaitedRankIndex,
  makeCommTimes,
  networkIndex,
  optimizerIndex,
} from '../../worker/comm/comm-times.js';
import { StepTimes } from '../../worker/step-times.js';

it('tells nothing of the first five steps, and then the means, whose sum is the step', () => {
  const comm = makeCommTimes();
  const ring = new StepRing(makeSharedSteps());
  const times = new StepTimes(comm, ring);
  const step = (startMs: number, [data, compute, network, optimizer, waiting]: number[]): void => {
    const spent = [data, compute, network, optimizer, waiting].map((ms) => ms ?? 0);
    comm[networkIndex] = (comm[networkIndex] ?? 0) + (network ?? 0);
    comm[optimizerIndex] = (comm[optimizerIndex] ?? 0) + (optimizer ?? 0);
    comm[awaitedIndex] = (comm[awaitedIndex] ?? 0) + (network ?? 0) / 2;
    comm[awaitedRankIndex] = 3;
    const read = startMs + (data ?? 0);
    times.add(
      { step: 7, generation: 2 },
      startMs,
      read,
      read + (compute ?? 0),
      startMs + spent.reduce((sum, ms) => sum + ms, 0),
    );
  };
  for (let i = 0; i < 5; i++) step(i * 1000, [100, 100, 100, 100, 100]);
  expect(times.means()).toBeNull();
  step(9000, [1, 2, 3, 4, 5]);
  step(9100, [3, 4, 5, 6, 7]);
  expect(times.means()).toEqual({ data: 2, compute: 3, network: 4, optimizer: 5, waiting: 6 });
  const ms = performance.timeOrigin;
  expect(ring.last(1)).toEqual([[7, 2, ms + 9100, 3, 4, 5, 6, 7, 2.5, 3]]);
});
