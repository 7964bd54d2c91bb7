import { describe, expect, it } from 'vitest';
import { beginMembership, membership } from '../../coordinator/membership.js';
import type {
  MembershipConfig,
  MembershipEffect,
  MembershipEvent,
  MembershipState,
} from '../../coordinator/membership-state.js';
import { LockstepError } from '../../src/errors.js';

const addresses = { hostId: 'a', unixPath: '/a', tcp: [] };
const facts = { 'Lockstep version': '1', 'parameter 0': 'w [2]' };

/** Plays events one after the other, a millisecond apart. */
class Play {
  state: MembershipState;
  reason: string | null = null;
  effects: MembershipEffect[] = [];
  nowMs = 0;
  readonly #config: MembershipConfig;

  constructor(config: Partial<MembershipConfig> = {}) {
    this.#config = { numWorkers: 2, slots: 4, heartbeatTimeoutMs: 100, facts: {}, ...config };
    this.state = beginMembership(this.#config);
  }

  take(event: MembershipEvent, nowMs = this.nowMs + 1): this {
    this.nowMs = nowMs;
    const { state, effects, reason } = membership(this.#config, this.state, event, nowMs);
    Object.assign(this, { state, reason, effects: [...effects] });
    return this;
  }

  hello(...ids: string[]): this {
    for (const workerId of ids) this.take({ type: 'hello', workerId, host: 'h', pid: 1 });
    return this;
  }

  ready(...ids: string[]): this {
    for (const workerId of ids) this.take({ type: 'ready', workerId, device: 'cpu', addresses, facts });
    return this;
  }

  connected(...ids: string[]): this {
    for (const workerId of ids) this.take({ type: 'connected', workerId, generation: 1 });
    return this;
  }

  training(): this {
    return this.hello('a', 'b').ready('b', 'a').connected('a', 'b');
  }

  get types(): string[] {
    return this.effects.map(({ type }) => type);
  }

  get error(): string {
    const failed = this.effects.find((effect) => effect.type === 'fail' || effect.type === 'refuse');
    return failed && 'error' in failed ? `${failed.error.code}: ${failed.error.message}` : 'none';
  }
}

const done = (workerId: string, weightsSha256 = 'x', step = 9): MembershipEvent => ({
  type: 'finished',
  workerId,
  step,
  weightsSha256,
});

describe('a run', () => {
  it('forms its generation when all workers are ready, and says for whom it waits before', () => {
    const play = new Play().hello('a');
    expect(play.types).toEqual(['welcome']);
    expect(play.reason).toBe('No generation yet: 0 of 2 workers are ready; a is still loading');
    play.hello('b').ready('b');
    expect(play.reason).toBe('No generation yet: 1 of 2 workers are ready; a is still loading');
    play.ready('a');
    expect(play.effects).toMatchObject([
      {
        type: 'form-generation',
        generation: 1,
        roster: [
          { workerId: 'a', rank: 0, firstSlot: 0, endSlot: 2 },
          { workerId: 'b', rank: 1, firstSlot: 2, endSlot: 4 },
        ],
      },
    ]);
  });

  it('gives the workers of one host neighbouring ranks and slots', () => {
    const play = new Play({ numWorkers: 4 }).hello('a', 'b', 'c', 'd');
    for (const [workerId, hostId] of Object.entries({ d: 'y', c: 'x', b: 'y', a: 'x' })) {
      play.take({ type: 'ready', workerId, device: 'cpu', addresses: { ...addresses, hostId }, facts });
    }
    expect(play.state.roster.map(({ workerId, rank, firstSlot }) => [workerId, rank, firstSlot])).toEqual([
      ['a', 0, 0],
      ['c', 1, 1],
      ['b', 2, 2],
      ['d', 3, 3],
    ]);
  });

  it('starts once every worker is connected to its peers', () => {
    const play = new Play().hello('a', 'b').ready('a', 'b').connected('b');
    expect(play.types).toEqual([]);
    expect(play.reason).toBe('Generation 1 has not started: a is not connected to all peers');
    expect(play.connected('a').effects).toEqual([{ type: 'start', generation: 1 }]);
    expect(play.reason).toBeNull();
  });

  it('does not take a connected of another generation for its own', () => {
    const play = new Play().hello('a', 'b').ready('a', 'b').connected('a');
    play.take({ type: 'connected', workerId: 'b', generation: 2 });
    expect(play.types).toEqual([]);
  });

  it('ends when all workers have finished with the same weights', () => {
    const play = new Play().training().take(done('a'));
    expect(play.types).toEqual([]);
    expect(play.take(done('b')).effects).toEqual([{ type: 'finish', step: 9, weightsSha256: 'x' }]);
    expect(play.state.phase).toBe('finished');
  });

  it('fails when two workers end with different weights', () => {
    const play = new Play().training().take(done('a')).take(done('b', 'y'));
    expect(play.error).toContain('After step 9 worker b has weights y and worker a has x');
  });
});

describe('a worker', () => {
  it('that comes when the run is full is refused and harms nothing', () => {
    const play = new Play().hello('a', 'b', 'c');
    expect(play.error).toContain('The run has its 2 workers');
    expect([...play.state.members.keys()]).toEqual(['a', 'b']);
  });

  it('that has an id already there is refused', () => {
    expect(new Play().hello('a', 'a').error).toContain('There is a worker a already');
  });

  it.each([
    [{ ...facts, 'Lockstep version': '2' }, 'Lockstep version: the worker has 2, the run has 1'],
    [{ ...facts, 'parameter 0': 'w [3]' }, 'parameter 0: the worker has w [3], the run has w [2]'],
    [{ ...facts, 'parameter 1': 'b [2]' }, 'parameter 1: the worker has b [2], the run has none'],
    [{ 'Lockstep version': '1' }, 'parameter 0: the worker has none, the run has w [2]'],
  ])('that differs is refused with both values, and its place is free again', (other, expected) => {
    const play = new Play({ facts: { 'Lockstep version': '1' } }).hello('a', 'b').ready('a');
    play.take({ type: 'ready', workerId: 'b', device: 'cpu', addresses, facts: other });
    expect(play.error).toContain(expected);
    expect(play.state.phase).toBe('gathering');
    expect(play.hello('c').ready('c').types).toEqual(['form-generation']);
  });

  it('that dies ends the run with its name, rank, step and the reason', () => {
    const play = new Play().training();
    play.take({ type: 'heartbeat', workerId: 'b', step: 5, waiting: null });
    play.take({ type: 'lost', workerId: 'b', why: 'it was killed by SIGKILL' });
    expect(play.error).toBe(
      'ERR_WORKER_LOST: Worker b (rank 1, pid 1 on h) is lost after step 5: it was killed by SIGKILL.',
    );
  });

  it('that fails ends the run with its own code and words', () => {
    const play = new Play().training();
    play.take({ type: 'failed', workerId: 'a', error: new LockstepError('ERR_NOT_FINITE', 'The loss is NaN.') });
    expect(play.error).toBe('ERR_NOT_FINITE: Worker a (rank 0, pid 1 on h) failed: The loss is NaN.');
  });

  it('that is silent for longer than the limit is lost, and not a moment before', () => {
    const play = new Play().hello('a', 'b');
    play.take({ type: 'heartbeat', workerId: 'a', step: 0, waiting: null }, 60);
    expect(play.take({ type: 'tick' }, 102).types).toEqual([]);
    play.take({ type: 'tick' }, 103);
    expect(play.error).toContain('Worker b (pid 1 on h) is lost after step 0: it was silent for 101 ms');
  });

  it('that speaks before its hello is a breach of the protocol', () => {
    expect(() => new Play().take({ type: 'heartbeat', workerId: 'x', step: 1, waiting: null })).toThrow(
      'Worker x spoke before it said hello',
    );
  });
});

describe('a stop', () => {
  const holds = (workerId: string, step: number): MembershipEvent => ({ type: 'draining', workerId, step });

  it('ends all workers after the furthest step that any has begun', () => {
    const play = new Play().training().take({ type: 'stop' });
    expect(play.types).toEqual(['drain']);
    expect(play.take(holds('a', 7)).types).toEqual([]);
    expect(play.reason).toBe('The run stops: waiting for b');
    expect(play.take(holds('b', 8)).effects).toEqual([{ type: 'stop-after', step: 8 }]);
  });

  it('goes on to the step that a worker has begun, whatever its heartbeats say of those committed', () => {
    const play = new Play().training().take({ type: 'stop' }).take(holds('a', 8));
    play.take({ type: 'heartbeat', workerId: 'a', step: 7, waiting: 'partials from rank 1' });
    expect(play.take(holds('b', 7)).effects).toEqual([{ type: 'stop-after', step: 8 }]);
  });

  it('is agreed once, however often it is asked for', () => {
    const play = new Play().training().take({ type: 'stop' }).take(holds('a', 7)).take(holds('b', 8));
    expect(play.take({ type: 'stop' }).types).toEqual([]);
    expect(play.take(done('a', 'x', 8)).types).toEqual([]);
    expect(play.take(done('b', 'x', 8)).types).toEqual(['finish']);
  });

  it('lets a worker go on to the end that another has reached already', () => {
    const play = new Play()
      .training()
      .take(done('a', 'x', 10))
      .take({ type: 'stop' });
    expect(play.take(holds('b', 9)).effects).toEqual([{ type: 'stop-after', step: 10 }]);
  });

  it('counts a worker that finishes while the stop is agreed', () => {
    const play = new Play()
      .training()
      .take({ type: 'stop' })
      .take(holds('b', 9))
      .take(done('a', 'x', 10));
    expect(play.effects).toEqual([{ type: 'stop-after', step: 10 }]);
  });

  it('before the first step ends the run as an error', () => {
    expect(new Play().hello('a').take({ type: 'stop' }).error).toContain('stopped before its first step');
  });
});
