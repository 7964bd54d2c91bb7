/** A coordinator that is started again: what it makes of what its journal and its workers say. */
import { describe, expect, it } from 'vitest';
import { beginMembership, membership } from '../../coordinator/membership.js';
import type {
  MembershipConfig,
  MembershipEffect,
  MembershipEvent,
  MembershipState,
} from '../../coordinator/membership-state.js';
import { defaultLimits, type Limits } from '../../src/protocol/limits.js';
import type { RosterEntry, Standing } from '../../src/protocol/messages.js';

const facts = { 'job file': 'x', 'parameter 0': 'w [2]' };
const addresses = { hostId: 'h', unixPath: '/a', tcp: [] };
const patience: Limits = { ...defaultLimits, returnTimeoutMs: 400 };

const rosterOf = (...ids: string[]): RosterEntry[] =>
  ids.map((workerId, rank) => ({
    ...{ workerId, rank, host: 'h', firstSlot: rank, endSlot: rank + 1, addresses, step: 0 },
  }));

/** A coordinator that finds generation 3 of a and b in its journal. */
class Back {
  state: MembershipState;
  effects: readonly MembershipEffect[] = [];
  reason: string | null = null;
  nowMs = 0;
  readonly #config: MembershipConfig;

  constructor(config: Partial<MembershipConfig> = {}) {
    const past = { numWanted: config.numWorkers ?? 2, generation: 3, roster: rosterOf('a', 'b'), checkpoint: null };
    const run = { runId: 'r', term: 2, past, checkpoint: null, facts: { 'job file': 'x' }, patience };
    this.#config = { ...run, numWorkers: 2, minWorkers: 1, slots: 2, isSharded: false, ...config };
    this.state = beginMembership(this.#config, 0);
  }

  take(event: MembershipEvent, nowMs = this.nowMs + 1): this {
    this.nowMs = nowMs;
    const { state, effects, reason } = membership(this.#config, this.state, event, nowMs);
    Object.assign(this, { state, reason, effects });
    return this;
  }

  /** It trains in generation 3, at step 7, and has heard of term 1. */
  hello(workerId: string, changes: Partial<Standing> = {}): this {
    const where = { generation: 3, entered: 3, workers: rosterOf('a', 'b'), step: 7, isTraining: true };
    const standing = { runId: 'r', term: 1, awayMs: 900, facts, ...where, ...changes };
    return this.take({ type: 'hello', workerId, host: 'h', pid: 1, isRemote: false, standing });
  }

  ready(...ids: string[]): this {
    for (const workerId of ids) this.take({ type: 'ready', workerId, device: 'cpu', addresses, facts });
    return this;
  }

  /** Until then all that are there beat. */
  waitUntil(endMs: number): this {
    while (this.nowMs < endMs && this.state.phase === 'returning') {
      for (const { workerId, step } of this.state.members.values()) {
        this.take({ type: 'heartbeat', workerId, step, waiting: null, stage: null }, this.nowMs);
      }
      this.take({ type: 'tick' }, this.nowMs + 50);
    }
    return this;
  }

  get types(): string[] {
    return this.effects.map(({ type }) => type);
  }

  get error(): string {
    const failed = this.effects.find((effect) => 'error' in effect);
    return failed && 'error' in failed ? `${failed.error.code}: ${failed.error.message}` : 'none';
  }
}

describe('a coordinator that is back', () => {
  it('goes on with the generation as it is when all of it are there', () => {
    const back = new Back().hello('a');
    expect(back.types).toEqual(['welcome']);
    back.ready('a').hello('b', { step: 8 });
    expect(back.reason).toBe('The coordinator is back; not heard of yet: b');
    expect(back.ready('b').effects).toEqual([
      {
        type: 'adopt',
        step: 8,
        workerIds: ['a', 'b'],
        recoveries: [
          {
            ...{ kind: 'coordinator', workerId: null, pid: null, why: 'it was started again', detectedMs: 899 },
            ...{ step: 8, resumedMs: 4, recomputedSlots: 0, numWorkers: 2 },
          },
        ],
      },
    ]);
    expect(back.state).toMatchObject({ phase: 'training', generation: 3 });
    expect(back.reason).toBeNull();
  });

  it('deals with a worker that does not come back in time as with any loss', () => {
    const back = new Back().hello('a').ready('a').waitUntil(350);
    expect(back.state.phase).toBe('returning');
    back.waitUntil(1_000);
    expect(back.effects).toEqual([{ type: 'halt', generation: 4, workerIds: ['a'] }]);
    back.take({ type: 'halted', workerId: 'a', generation: 4, step: 7 });
    expect(back.effects).toMatchObject([{ type: 'form-generation', generation: 4, step: 7, roster: [{ endSlot: 2 }] }]);
    back.take({ type: 'connected', workerId: 'a', generation: 4, prefersMemory: true });
    const [start] = back.effects;
    expect(start).toMatchObject({ recoveries: [{ kind: 'coordinator' }, { kind: 'lost', workerId: 'b' }] });
  });

  it('does not wait for a worker whose process is known to be gone', () => {
    const back = new Back().hello('a').ready('a').take({ type: 'lost', workerId: 'b', why: 'its process is gone' });
    expect(back.effects).toEqual([{ type: 'halt', generation: 4, workerIds: ['a'] }]);
  });

  it.each([
    ['that was in the midst of the moves', { generation: 4, isTraining: false }, 5],
    ['that has not begun, or was told to stop', { isTraining: false }, 4],
  ])('makes the next generation where there is one %s', (_what, standing, generation) => {
    const back = new Back().hello('a', standing).ready('a').hello('b').ready('b');
    expect(back.effects).toEqual([{ type: 'halt', generation, workerIds: ['a', 'b'] }]);
  });

  it('takes a roster that is newer than its own', () => {
    const newer = { generation: 4, entered: 4, workers: rosterOf('a', 'c') };
    const back = new Back().hello('a').hello('c', newer).ready('a', 'c');
    expect(back.effects).toEqual([{ type: 'halt', generation: 5, workerIds: ['a', 'c'] }]);
    expect(back.hello('b').error).toContain('Worker b is out of the run');
  });

  it('takes in one that was to be in the generation and never heard of it', () => {
    const back = new Back()
      .hello('a')
      .ready('a')
      .hello('b', { generation: 0, entered: 0, workers: [], isTraining: false });
    expect(back.types).toEqual(['welcome']);
    expect(back.ready('b').effects).toEqual([{ type: 'halt', generation: 4, workerIds: ['a', 'b'] }]);
  });

  it('ends the run where all have finished meanwhile', () => {
    const done = (workerId: string): MembershipEvent => ({ type: 'finished', workerId, step: 9, weightsSha256: 'x' });
    const back = new Back().hello('a').ready('a').take(done('a')).hello('b').take(done('b'));
    expect(back.types).toEqual([]);
    expect(back.ready('b').types).toEqual(['adopt', 'finish']);
  });

  it('begins at a checkpoint where nobody comes back', () => {
    const back = new Back().waitUntil(1_000);
    expect(back.state.phase).toBe('gathering');
    back.take({ type: 'hello', workerId: 'c', host: 'h', pid: 1, isRemote: false, standing: null }).ready('c');
    expect(back.types).toEqual(['seek-checkpoint']);
    back.take({ type: 'checkpoint-found', checkpoint: { step: 5, path: '/c' } });
    expect(back.effects).toMatchObject([{ type: 'form-generation', generation: 4, step: 5, resumeFrom: '/c' }]);
  });

  it('has a run with a share of the moments lost go back to its newest checkpoint', () => {
    const back = new Back({ isSharded: true }).hello('a').ready('a');
    back.take({ type: 'lost', workerId: 'b', why: 'its process is gone' });
    expect(back.effects).toEqual([{ type: 'halt', generation: 4, workerIds: ['a'] }]);
    back.take({ type: 'halted', workerId: 'a', generation: 4, step: null });
    expect(back.types).toEqual(['seek-checkpoint']);
  });

  it('lets a newcomer in once it has the others', () => {
    const back = new Back({ numWorkers: 3, slots: 3 }).hello('a').ready('a');
    back
      .take({ type: 'hello', workerId: 'c', host: 'h', pid: 1, isRemote: false, standing: null })
      .ready('c')
      .hello('b')
      .ready('b');
    expect(back.effects).toEqual([{ type: 'halt', generation: 4, workerIds: ['a', 'b'] }]);
  });

  it('sends a Ctrl-C that came meanwhile on to the workers', () => {
    const back = new Back().hello('a').ready('a').take({ type: 'stop' }).hello('b').ready('b');
    expect(back.types).toEqual(['adopt', 'drain']);
  });
});

describe('a coordinator without a journal', () => {
  const lost = { past: null, term: 1, runId: 'new' };

  it('has the run back from its workers, with a higher term', () => {
    const back = new Back(lost).hello('a', { term: 4 });
    expect(back.state).toMatchObject({ runId: 'r', term: 5, phase: 'returning' });
    expect(back.ready('a').hello('b', { term: 4 }).ready('b').types).toEqual(['adopt']);
  });

  it('takes it also where one before it has found the disk lost, and died before a worker came', () => {
    const past = { numWanted: 2, generation: 0, roster: [], checkpoint: null };
    const back = new Back({ ...lost, term: 2, past }).hello('a');
    expect(back.state).toMatchObject({ runId: 'r', term: 2, phase: 'returning' });
    expect(back.ready('a').hello('b', { term: 4 }).ready('b').types).toEqual(['adopt']);
  });

  it('leaves a run that it has begun itself to the one that a worker has heard of', () => {
    const past = { numWanted: 2, generation: 0, roster: [], checkpoint: null };
    const back = new Back({ ...lost, past }).hello('a', { runId: 'new', term: 2, generation: 0, entered: 0 });
    expect(back.types).toEqual(['yield']);
  });

  it('does not take a worker of another job', () => {
    const back = new Back(lost).hello('a', { facts: { 'job file': 'y' } });
    expect(back.error).toContain('ERR_WORKER_MISMATCH: Worker a is in a run of another job');
    expect(back.state).toMatchObject({ runId: 'new', phase: 'gathering' });
  });

  it('has no place for one that has come too early', () => {
    const back = new Back(lost);
    for (const workerId of ['x', 'y'])
      back.take({ type: 'hello', workerId, host: 'h', pid: 1, isRemote: false, standing: null });
    expect(back.hello('a').types).toEqual(['refuse', 'refuse', 'welcome']);
  });

  it('does not take a worker back once it has begun a run of its own', () => {
    const back = new Back({ ...lost, numWorkers: 1 });
    back.take({ type: 'hello', workerId: 'x', host: 'h', pid: 1, isRemote: false, standing: null }).ready('x');
    expect(back.hello('a').error).toContain('Worker a is in another run, r; this coordinator has run new');
  });
});

describe('a coordinator that was replaced', () => {
  it('leaves the run to the one that a worker has heard of', () => {
    const back = new Back().hello('a', { term: 3 });
    expect(back.types).toEqual(['yield']);
    expect(back.error).toMatch(/^ERR_COORDINATOR_REPLACED: .*its term is 3, this one's 2/);
    expect(back.hello('b').types).toEqual(['refuse']);
  });
});

describe('a worker that comes again to the coordinator that it has', () => {
  const trained = (): Back => new Back().hello('a').ready('a').hello('b').ready('b');

  it('stays as it is', () => {
    expect(trained().hello('a', { term: 2 }).types).toEqual(['welcome']);
  });

  it('begins the moves anew where it may have missed one', () => {
    const back = trained().take({ type: 'stop' }).hello('a', { term: 2 });
    expect(back.types).toEqual(['welcome', 'halt']);
  });

  it('is out of the run once that went on without it', () => {
    const back = trained().take({ type: 'lost', workerId: 'b', why: 'its connection closed' }).hello('b', { term: 2 });
    expect(back.error).toContain('Worker b is out of the run, which has gone on without it');
  });
});
