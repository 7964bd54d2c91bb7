/** One generation in the comm thread, of a worker that is alone. */
import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { makeSharedSteps } from '../../src/flight/step-ring.js';
import { adam } from '../../src/optimizer/config.js';
import { defaultLimits } from '../../src/protocol/limits.js';
import { planLayout } from '../../src/state/layout.js';
import { FlatMemory } from '../../src/state/memory.js';
import { Impediment } from '../../transport/impediment.js';
import { makeCommTimes } from '../../worker/comm/comm-times.js';
import { GenerationRun } from '../../worker/comm/generation-run.js';
import { reserveRegions } from '../../worker/comm/reservation.js';
import { StepWords } from '../../worker/comm/step-words.js';

const bucketBytes = 2 ** 22;
const optimizer = adam();
const layout = planLayout([{ name: 'a', shape: [64], trainable: true }], 2);

function runAlone(onCommit: (numSteps: number) => void): { run: GenerationRun; words: StepWords } {
  const common = { slots: 1, bucketBytes, wire: 'float32', optimizer, onNotFinite: 'stop' } as const;
  const memory = FlatMemory.create(layout, reserveRegions(layout, common));
  const addresses = { hostId: 'h', unixPath: null, tcp: [] };
  const self = { workerId: 'a', rank: 0, host: 'h', firstSlot: 0, endSlot: 1, addresses, step: 0 };
  const run = new GenerationRun({
    setup: {
      ...common,
      runId: 'r',
      memory: memory.share(),
      times: makeCommTimes(),
      steps: makeSharedSteps(),
      stepAddonPath: null,
      sharedMemory: null,
      computeThreads: 1,
      onNotFinite: 'stop',
    },
    memory,
    entry: {
      generation: { generation: 1, step: 0, resumeFrom: null, workers: [self] },
      self,
      source: { type: 'own' },
      linked: true,
      resting: true,
    },
    token: null,
    limits: defaultLimits,
    hostId: 'h',
    pages: null,
    impediment: new Impediment(),
    onCommit,
    isAlone: () => false,
    pulse: () => undefined,
    onSkipped: () => undefined,
    report: (error) => {
      throw error;
    },
  });
  run.begin(false);
  return { run, words: new StepWords(run.words) };
}

describe('a generation', () => {
  it('commits a step whose gradients are ready', async () => {
    const commits: number[] = [];
    const { run, words } = runAlone((numSteps) => commits.push(numSteps));
    words.markBegun(0);
    words.markReady(0);
    expect(await words.committed(0)).toBe(true);
    expect(commits).toEqual([1]);
    run.close();
  });

  it('that has ended commits no step whose gradients got ready just before', async () => {
    const commits: number[] = [];
    const { run, words } = runAlone((numSteps) => commits.push(numSteps));
    words.markBegun(0);
    words.markReady(0);
    run.close();
    for (let turns = 0; turns < 5; turns++) await turnOfTheEventLoop();
    expect(commits).toEqual([]);
    expect(words.numCommitted).toBe(0);
  });
});
