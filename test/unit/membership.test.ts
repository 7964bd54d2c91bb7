import { describe, expect, it } from 'vitest';
import { beginMembership, membership } from '../../coordinator/membership.js';
import type {
  MembershipConfig,
  MembershipEffect,
  MembershipEvent,
  MembershipState,
} from '../../coordinator/membership-state.js';
import { LockstepError } from '../../src/errors.js';
import { patience } from '../support/patience.js';

const addresses = { hostId: 'a', unixPath: '/a', tcp: [] };
const facts = { 'Lockstep version': '1', 'parameter 0': 'w [2]' };

/** Plays events one after the other, a millisecond apart, and keeps the effects of each. */
class Play {
  state: MembershipState;
  reason: string | null = null;
  effects: readonly MembershipEffect[] = [];
  nowMs = 0;
  readonly #config: MembershipConfig;

  constructor(config: Partial<MembershipConfig> = {}) {
    const run = { runId: 'r', term: 1, past: null };
    const base = {
      ...run,
      numWorkers: 2,
      minWorkers: 1,
      slots: 4,
      isSharded: false,
      checkpoint: null,
      facts: {},
      patience,
    };
    this.#config = { ...base, ...config };
    this.state = beginMembership(this.#config, 0);
  }

  /** A run that trains, with workers a, b, … of one slot each, or of `slots` together. */
  static training(numWorkers: number, config: Partial<MembershipConfig> = {}): Play {
    const ids = 'abcdefgh'.slice(0, numWorkers).split('');
    return new Play({ numWorkers, slots: numWorkers, ...config })
      .hello(...ids)
      .ready(...ids)
      .connected(...ids);
  }

  take(event: MembershipEvent, nowMs = this.nowMs + 1): this {
    this.nowMs = nowMs;
    const { state, effects, reason } = membership(this.#config, this.state, event, nowMs);
    Object.assign(this, { state, reason, effects });
    return this;
  }

  hello(...ids: string[]): this {
    for (const workerId of ids)
      this.take({ type: 'hello', workerId, host: 'h', pid: 1, isRemote: false, standing: null });
    return this;
  }

  ready(...ids: string[]): this {
    for (const workerId of ids) this.take({ type: 'ready', workerId, device: 'cpu', addresses, facts });
    return this;
  }

  connected(...ids: string[]): this {
    const { generation } = this.state;
    for (const workerId of ids) this.take({ type: 'connected', workerId, generation, prefersMemory: true });
    return this;
  }

  halted(steps: Readonly<Record<string, number | null>>): this {
    const { generation } = this.state;
    for (const [workerId, step] of Object.entries(steps)) this.take({ type: 'halted', workerId, generation, step });
    return this;
  }

  lost(...ids: string[]): this {
    for (const workerId of ids) this.take({ type: 'lost', workerId, why: 'it was killed by SIGKILL' });
    return this;
  }

  beat(workerId: string, beat: Partial<Extract<MembershipEvent, { type: 'heartbeat' }>> = {}): this {
    return this.take({
      type: 'heartbeat',
      workerId,
      step: 0,
      waiting: null,
      stage: null,
      ...beat,
    });
  }

  /** Until then, every 20 ms all but these beat, at the steps that they are at, and the clock ticks. */
  beatUntil(endMs: number, ...silent: string[]): this {
    while (this.nowMs < endMs && this.effects.every(({ type }) => !['evict', 'fail', 'warn'].includes(type))) {
      for (const { workerId, step, waiting, stage } of this.state.members.values()) {
        if (!silent.includes(workerId)) this.take({ type: 'heartbeat', workerId, step, waiting, stage }, this.nowMs);
      }
      this.take({ type: 'tick' }, this.nowMs + 20);
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

  /** "a 0-2 @5": who has which slots, and the step that it holds. */
  get roster(): string[] {
    return this.state.roster.map(
      ({ workerId, firstSlot, endSlot, step }) => `${workerId} ${firstSlot}-${endSlot} @${step ?? 'none'}`,
    );
  }
}

const done = (workerId: string, weightsSha256 = 'x', step = 9): MembershipEvent => ({
  type: 'finished',
  workerId,
  step,
  weightsSha256,
});
const holds = (workerId: string, step: number): MembershipEvent => ({ type: 'draining', workerId, step });

describe('a run', () => {
  it('forms its generation when all workers are ready, and says for whom it waits before', () => {
    const play = new Play().hello('a');
    expect(play.types).toEqual(['welcome']);
    expect(play.reason).toBe('No generation yet: 0 of 2 workers are ready; still loading: a');
    play.hello('b').ready('b');
    expect(play.reason).toBe('No generation yet: 1 of 2 workers are ready; still loading: a');
    play.ready('a');
    expect(play.effects).toMatchObject([{ type: 'form-generation', generation: 1, step: 0, resumeFrom: null }]);
    expect(play.roster).toEqual(['a 0-2 @none', 'b 2-4 @none']);
  });

  it('begins where its checkpoint is', () => {
    const play = new Play({ checkpoint: { step: 7, path: '/c' } }).hello('a', 'b').ready('a', 'b');
    expect(play.effects).toMatchObject([{ type: 'form-generation', step: 7, resumeFrom: '/c' }]);
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
    expect(play.reason).toBe('Generation 1 has not started; not connected to all peers yet: a');
    expect(play.connected('a').effects).toEqual([
      { type: 'start', generation: 1, inMemory: true, workerIds: ['a', 'b'], recoveries: [] },
    ]);
    expect(play.reason).toBeNull();
  });

  it('does not take a connected of another generation for its own', () => {
    const play = new Play().hello('a', 'b').ready('a', 'b').connected('a');
    play.take({ type: 'connected', workerId: 'b', generation: 2, prefersMemory: true });
    expect(play.types).toEqual([]);
  });

  it('ends when all workers have finished with the same weights', () => {
    const play = Play.training(2).take(done('a'));
    expect(play.types).toEqual([]);
    expect(play.take(done('b')).effects).toEqual([{ type: 'finish', step: 9, weightsSha256: 'x' }]);
    expect(play.state.phase).toBe('finished');
  });

  it('fails when two workers end with different weights', () => {
    const play = Play.training(2).take(done('a')).take(done('b', 'y'));
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

  it('that fails ends the run with its own code and words', () => {
    const error = new LockstepError('ERR_NOT_FINITE', 'The loss is NaN.');
    const play = Play.training(2).take({ type: 'failed', workerId: 'a', error });
    expect(play.error).toBe('ERR_NOT_FINITE: Worker a (rank 0, pid 1 on h) failed: The loss is NaN.');
  });

  it('that fails while it loads beside a run that trains ends nothing', () => {
    const error = new LockstepError('ERR_MEMORY', 'No memory.');
    const play = Play.training(2).lost('b').hello('c').take({ type: 'failed', workerId: 'c', error });
    expect(play.types).toEqual(['dismiss']);
    expect(play.halted({ a: 3 }).types).toEqual(['form-generation']);
  });

  it('that fails because of its way to another one is lost, and ends nothing', () => {
    const error = new LockstepError('ERR_FRAME_CORRUPT', 'A frame is damaged.');
    expect(Play.training(2).take({ type: 'failed', workerId: 'a', error }).types).toEqual(['dismiss', 'halt']);
  });

  it('that speaks before its hello is a breach of the protocol', () => {
    expect(() => new Play().beat('x')).toThrow('Worker x spoke before it said hello');
  });
});

describe('a loss', () => {
  it('halts those that are left, and its slots go to the neighbours', () => {
    const play = Play.training(3, { slots: 6 }).lost('b');
    expect(play.effects).toEqual([{ type: 'halt', generation: 2, workerIds: ['a', 'c'] }]);
    expect(play.reason).toBe('Generation 2 is being made; not halted yet: a, c');
    play.halted({ a: 5 });
    expect(play.types).toEqual([]);
    play.halted({ c: 6 });
    expect(play.effects).toMatchObject([{ type: 'form-generation', generation: 2, step: 6, resumeFrom: null }]);
    expect(play.roster).toEqual(['a 0-3 @5', 'c 3-6 @6']);
  });

  it('is told with its times and its slots when all go on', () => {
    const play = Play.training(3, { slots: 6 }).lost('b').halted({ a: 5, c: 5 }).connected('a', 'c');
    const recovery = {
      kind: 'lost',
      workerId: 'b',
      pid: 1,
      why: 'it was killed by SIGKILL',
      step: 5,
      detectedMs: 0,
      resumedMs: 4,
      recomputedSlots: 2,
      numWorkers: 2,
    };
    expect(play.effects).toEqual([
      { type: 'start', generation: 2, inMemory: true, workerIds: ['a', 'c'], recoveries: [recovery] },
    ]);
  });

  it('of the first rank makes the next one the first', () => {
    const play = Play.training(3).lost('a').halted({ b: 1, c: 1 });
    expect(play.state.roster.map(({ workerId, rank }) => [workerId, rank])).toEqual([
      ['b', 0],
      ['c', 1],
    ]);
    expect(play.roster).toEqual(['b 0-2 @1', 'c 2-3 @1']);
  });

  it.each([
    ['while the others halt', (play: Play) => play.halted({ a: 4 })],
    ['when all have halted', (play: Play) => play.halted({ a: 4, c: 4 })],
    ['while the others connect', (play: Play) => play.halted({ a: 4, c: 4, d: 4 }).connected('a')],
  ])('that follows another %s begins the moves anew with the next number', (_, meanwhile) => {
    const play = Play.training(4).lost('b');
    meanwhile(play).lost('d');
    expect(play.effects).toEqual([{ type: 'halt', generation: 3, workerIds: ['a', 'c'] }]);
    play.take({ type: 'halted', workerId: 'a', generation: 2, step: 4 });
    play.take({ type: 'connected', workerId: 'c', generation: 2, prefersMemory: true });
    expect(play.state.phase).toBe('halting');
    play.halted({ a: 4, c: 4 });
    expect(play.roster).toEqual(['a 0-2 @4', 'c 2-4 @4']);
    play.connected('a', 'c');
    expect(play.effects).toMatchObject([{ type: 'start', recoveries: [{ workerId: 'b' }, { workerId: 'd' }] }]);
  });

  it('while the first generation connects waits for another worker', () => {
    const play = new Play().hello('a', 'b').ready('a', 'b').lost('b').halted({ a: null });
    expect(play.reason).toBe('No generation yet: 1 of 2 workers are ready');
    play.hello('c').ready('c');
    expect(play.effects).toMatchObject([{ type: 'form-generation', generation: 2, step: 0, resumeFrom: null }]);
    expect(play.roster).toEqual(['a 0-2 @none', 'c 2-4 @none']);
  });

  it('is not made up for by one of the same id while the generation is the lost one’s still', () => {
    const play = Play.training(2).lost('b').hello('b');
    expect(play.types).toEqual(['refuse']);
    expect(play.halted({ a: 1 }).connected('a').hello('b').types).toEqual(['welcome']);
  });

  it('of one that loads concerns nobody', () => {
    const play = Play.training(2).lost('b').halted({ a: 1 }).connected('a').hello('c').lost('c');
    expect(play.types).toEqual([]);
    expect(play.reason).toBeNull();
  });

  it('of the only one that was ahead leaves the others where they are', () => {
    const play = Play.training(3).lost('a').halted({ b: 7, c: 6 }).lost('b').halted({ c: 6 });
    expect(play.effects).toMatchObject([{ type: 'form-generation', generation: 3, step: 6, resumeFrom: null }]);
  });

  it('after which all that are left have finished has them see to what the lost one had not done', () => {
    const play = Play.training(2).take(done('b')).lost('a');
    expect(play.effects).toMatchObject([{ type: 'halt', workerIds: ['b'] }]);
    expect(play.halted({ b: 9 }).connected('b').take(done('b')).types).toEqual(['finish']);
  });

  it('after which all that are left have finished has them read a sharded run’s last checkpoint, for what may be missing', () => {
    const play = Play.training(2, { isSharded: true }).take(done('a'));
    play.take({ type: 'checkpointed', step: 9, path: '/c9' }).lost('b').halted({ a: null });
    play.take({ type: 'checkpoint-found', checkpoint: { step: 9, path: '/c9' } });
    expect(play.effects).toMatchObject([{ type: 'form-generation', step: 9, resumeFrom: '/c9' }]);
    expect(play.connected('a').take(done('a')).effects).toEqual([{ type: 'finish', step: 9, weightsSha256: 'x' }]);
  });

  it.each([
    ['is gone on from at once where no step is left', [done('b')], ['form-generation']],
    ['is waited for another worker after where steps are left', [], []],
  ])('that leaves fewer than the least number %s', (_what, events, types) => {
    const play = Play.training(2, { minWorkers: 2 });
    for (const event of events) play.take(event);
    expect(play.lost('a').halted({ b: 9 }).types).toEqual(types);
  });

  it('before all have finished asks those that have finished too, and has them finish again', () => {
    const play = Play.training(3).take(done('a')).lost('b');
    expect(play.effects).toMatchObject([{ type: 'halt', workerIds: ['a', 'c'] }]);
    play.halted({ a: 9, c: 8 }).connected('a', 'c');
    expect(play.take(done('c')).types).toEqual([]);
    expect(play.take(done('a')).types).toEqual(['finish']);
  });

  it('of moments that nobody else has sends the run back to the newest checkpoint, with those that are left', () => {
    const play = Play.training(3, { isSharded: true }).lost('b').halted({ a: null, c: null });
    expect(play.types).toEqual(['seek-checkpoint']);
    play.take({ type: 'checkpoint-found', checkpoint: { step: 4, path: '/c4' } });
    expect(play.effects).toMatchObject([{ type: 'form-generation', generation: 2, step: 4, resumeFrom: '/c4' }]);
    expect(play.roster).toEqual(['a 0-2 @none', 'c 2-3 @none']);
    expect(play.connected('a', 'c').effects).toMatchObject([
      { type: 'start', recoveries: [{ kind: 'lost', step: 4 }] },
    ]);
  });

  it('of moments, where there is no checkpoint yet, has the run begin anew', () => {
    const play = Play.training(2, { isSharded: true }).lost('b').halted({ a: null });
    play.take({ type: 'checkpoint-found', checkpoint: null });
    expect(play.effects).toMatchObject([{ type: 'form-generation', step: 0, resumeFrom: null }]);
  });

  it('while a checkpoint is looked for begins the moves anew', () => {
    const play = Play.training(3, { isSharded: true }).lost('b').halted({ a: null, c: null }).lost('c');
    expect(play.effects).toEqual([{ type: 'halt', generation: 3, workerIds: ['a'] }]);
    play.take({ type: 'checkpoint-found', checkpoint: { step: 4, path: '/c4' } });
    expect(play.types).toEqual([]);
    expect(play.halted({ a: null }).types).toEqual(['seek-checkpoint']);
  });

  it('forgets a finish and a stop that were said in the older generation', () => {
    const play = Play.training(3).lost('b').take(done('a')).take(holds('c', 3)).halted({ a: 9, c: 9 });
    expect(play.connected('a', 'c').types).toEqual(['start']);
    expect(play.state.members.get('a')?.state).toBe('training');
  });
});

describe('with all workers lost', () => {
  it('the run waits, and goes on from the newest checkpoint with the next that comes', () => {
    const play = Play.training(2).take({ type: 'checkpointed', step: 4, path: '/c4' }).lost('a', 'b');
    expect(play.reason).toBe('No worker trains: 0 of 1 workers are ready');
    expect(play.hello('c').ready('c').types).toEqual(['seek-checkpoint']);
    play.take({ type: 'checkpoint-found', checkpoint: { step: 6, path: '/c6' } });
    expect(play.effects).toMatchObject([{ type: 'form-generation', step: 6, resumeFrom: '/c6' }]);
    expect(play.roster).toEqual(['c 0-2 @none']);
  });

  it('it goes on from the first weights where no checkpoint is whole', () => {
    const play = Play.training(2)
      .take({ type: 'checkpointed', step: 4, path: '/c4' })
      .lost('a', 'b')
      .hello('c')
      .ready('c');
    play.take({ type: 'checkpoint-found', checkpoint: null });
    expect(play.effects).toMatchObject([{ type: 'form-generation', step: 0, resumeFrom: null }]);
  });

  it('it fails when nobody comes for long, and names the last one that was lost', () => {
    const play = Play.training(2).lost('a', 'b').beatUntil(1_990);
    expect(play.error).toBe('none');
    play.beatUntil(2_100);
    expect(play.error).toMatch(
      /^ERR_WORKER_LOST: The run needs 1 worker\(s\) and has 0: none came for 2000 ms\. Worker b \(rank 1, pid 1 on h\) is lost/,
    );
  });

  it('it fails at once when none will come any more', () => {
    const play = Play.training(1).lost('a').take({ type: 'no-more-workers', why: 'all have ended' });
    expect(play.error).toContain('The run needs 1 worker(s) and has 0: all have ended.');
  });

  it('it does not fail for want of others while one trains', () => {
    const play = Play.training(2).lost('b').take({ type: 'no-more-workers', why: 'x' }).halted({ a: 1 }).connected('a');
    expect(play.types).toEqual(['start']);
  });
});

describe('with fewer workers than it needs', () => {
  it('the run waits with the state in the memory of those that are left', () => {
    const play = Play.training(3, { minWorkers: 2 }).lost('a', 'b').halted({ c: 5 });
    expect(play.reason).toBe('No worker trains: 1 of 2 workers are ready');
    play.hello('d').ready('d');
    expect(play.effects).toMatchObject([{ type: 'form-generation', step: 5, resumeFrom: null }]);
    expect(play.roster).toEqual(['c 0-1 @5', 'd 1-3 @none']);
  });

  it('those that are left take the state to a checkpoint when nobody comes for long, and then the run ends', () => {
    const play = Play.training(3, { minWorkers: 2 }).lost('a', 'b').halted({ c: 5 }).beatUntil(1_990);
    expect(play.state.phase).toBe('gathering');
    while (play.state.phase === 'gathering') play.beat('c').take({ type: 'tick' }, play.nowMs + 20);
    expect(play.effects).toMatchObject([{ type: 'form-generation', step: 5, resumeFrom: null }]);
    expect(play.connected('c').types).toEqual(['start', 'drain']);
    expect(play.take(holds('c', 6)).effects).toMatchObject([{ type: 'stop-after', step: 6 }]);
    play.take({ type: 'checkpointed', step: 6, path: '/c6' }).take(done('c'));
    expect(play.error).toMatch(
      /^ERR_WORKER_LOST: The run needs 2 worker\(s\) and has 1: none came for 2000 ms\. Worker b /,
    );
    expect(play.state.phase).toBe('failed');
  });

  it('the run ends for want of workers also where the last one dies on the way to that checkpoint', () => {
    const play = Play.training(2, { minWorkers: 2 }).lost('b').halted({ a: 5 });
    play.take({ type: 'no-more-workers', why: 'all have ended' }).connected('a').lost('a');
    expect(play.error).toContain('The run needs 2 worker(s) and has 1: all have ended.');
  });

  it('a Ctrl-C has those that are left take the state to a checkpoint, and the run ends well', () => {
    const play = Play.training(2, { minWorkers: 2 }).lost('b').halted({ a: 5 }).take({ type: 'stop' });
    expect(play.effects).toMatchObject([{ type: 'form-generation', step: 5 }]);
    play.connected('a').take(holds('a', 5)).take(done('a'));
    expect(play.types).toEqual(['finish']);
  });

  it('the first generation is formed after a while, if they are enough at all', () => {
    const play = new Play({ numWorkers: 3, minWorkers: 2 }).hello('a', 'b').ready('a', 'b').beatUntil(1_970);
    expect(play.state.phase).toBe('gathering');
    play.beatUntil(2_030);
    expect(play.state.phase).toBe('connecting');
    expect(play.state.roster).toHaveLength(2);
  });
});

describe('a newcomer', () => {
  it('joins a run with a sharded optimizer at its next checkpoint, from which all go on', () => {
    const found = { type: 'checkpoint-found', checkpoint: { step: 4, path: '/c4' } } as const;
    const play = Play.training(3, { isSharded: true }).lost('c').halted({ a: null, b: null }).take(found);
    expect(play.connected('a', 'b').hello('d').ready('d').types).toEqual([]);
    play.take({ type: 'checkpointed', step: 6, path: '/c6' });
    expect(play.effects).toEqual([{ type: 'halt', generation: 3, workerIds: ['a', 'b'] }]);
    play.halted({ a: null, b: null }).take({ type: 'checkpoint-found', checkpoint: { step: 6, path: '/c6' } });
    expect(play.connected('a', 'b', 'd').types).toEqual(['start']);
    expect(play.take({ type: 'checkpointed', step: 8, path: '/c8' }).types).toEqual([]);
  });

  const shorthanded = (): Play => Play.training(3).lost('b').halted({ a: 5, c: 5 }).connected('a', 'c');

  it('joins once it is ready, with even shares and no state', () => {
    const play = shorthanded().hello('b.2');
    expect(play.types).toEqual(['welcome']);
    expect(play.ready('b.2').effects).toEqual([{ type: 'halt', generation: 3, workerIds: ['a', 'c'] }]);
    play.halted({ a: 8, c: 8 });
    expect(play.roster).toEqual(['a 0-1 @8', 'b.2 1-2 @none', 'c 2-3 @8']);
    play.connected('a', 'b.2', 'c');
    expect(play.effects).toMatchObject([
      { type: 'start', recoveries: [{ kind: 'joined', workerId: 'b.2', step: 8, recomputedSlots: 1, numWorkers: 3 }] },
    ]);
  });

  it('that is ready while the others halt comes with them', () => {
    const play = Play.training(3).lost('b').hello('d').halted({ a: 5 }).ready('d').halted({ c: 5 });
    expect(play.roster).toEqual(['a 0-1 @5', 'c 1-2 @5', 'd 2-3 @none']);
  });

  it('that is ready while the others connect begins the moves anew before they start', () => {
    const play = Play.training(3).lost('b').hello('d').halted({ a: 5, c: 5 }).ready('d').connected('a');
    expect(play.types).toEqual([]);
    expect(play.connected('c').effects).toEqual([{ type: 'halt', generation: 3, workerIds: ['a', 'c'] }]);
  });

  it('that dies while it fetches the state is lost like any other', () => {
    const play = shorthanded().hello('d').ready('d').halted({ a: 8, c: 8 }).lost('d');
    expect(play.effects).toEqual([{ type: 'halt', generation: 4, workerIds: ['a', 'c'] }]);
    play.halted({ a: 8, c: 8 });
    expect(play.roster).toEqual(['a 0-1 @8', 'c 1-3 @8']);
  });

  it('that dies before it is let in was never there', () => {
    const play = shorthanded().hello('d').ready('d').lost('d').halted({ a: 8, c: 8 }).connected('a', 'c');
    expect(play.effects).toMatchObject([{ type: 'start', recoveries: [] }]);
  });

  it('is not let in when the run stops, or has nearly ended', () => {
    expect(shorthanded().take({ type: 'stop' }).hello('d').ready('d').types).toEqual([]);
    expect(shorthanded().take(done('a')).hello('d').ready('d').types).toEqual([]);
  });
});

describe('a worker that leaves', () => {
  it('is let go, and the others go on with its slots', () => {
    const play = Play.training(2).take({ type: 'leaving', workerId: 'b', step: 3 });
    expect(play.effects).toEqual([
      { type: 'dismiss', workerId: 'b' },
      { type: 'halt', generation: 2, workerIds: ['a'] },
    ]);
    play.halted({ a: 3 }).connected('a');
    expect(play.effects).toMatchObject([{ type: 'start', recoveries: [{ kind: 'left', workerId: 'b' }] }]);
  });
});

describe('silence', () => {
  it('of more than the limit evicts a worker of the generation, and not a moment before', () => {
    const play = Play.training(2).beatUntil(90, 'b');
    expect(play.types).toEqual([]);
    play.beatUntil(200, 'b');
    expect(play.types).toEqual(['evict', 'halt']);
    expect(play.error).toMatch(/Worker b \(rank 1, pid 1 on h\) is out of the run: it was silent for 1\d\d ms/);
    play.halted({ a: 3 }).connected('a');
    expect(play.effects).toMatchObject([{ type: 'start', recoveries: [{ kind: 'silent', workerId: 'b' }] }]);
  });

  it('of one that loads may be longer', () => {
    const play = new Play().hello('a', 'b').beatUntil(1_000, 'b');
    expect(play.types).toEqual([]);
    expect(play.beatUntil(1_100, 'b').types).toEqual(['evict']);
  });

  it('of several at once leaves the others one generation', () => {
    const play = Play.training(4).beatUntil(50).beatUntil(300, 'b', 'd');
    expect(play.types.filter((type) => type === 'evict')).toHaveLength(2);
    expect(play.effects.at(-1)).toMatchObject({ type: 'halt', workerIds: ['a', 'c'] });
  });

  it('is not what this process did not hear while it was stopped', () => {
    const play = Play.training(2).take({ type: 'tick' }, 5_000);
    expect(play.types).toEqual([]);
    expect(play.beatUntil(5_300, 'b').types).toEqual(['evict', 'halt']);
  });

  it('of a worker that halted already counts too', () => {
    const play = Play.training(3).lost('c').halted({ a: 1 }).beatUntil(50).beatUntil(300, 'a', 'b');
    expect(play.types.filter((type) => type === 'evict')).toHaveLength(2);
  });
});

describe('a worker that beats and does nothing', () => {
  const stuck = (play: Play): Play => play.beat('a', { step: 1 }).beat('b', { step: 1, stage: 'computing' });

  it('is evicted when the others have waited for its gradients for longer than the limit', () => {
    const play = stuck(Play.training(2)).beatUntil(500);
    expect(play.types).toEqual([]);
    play.beatUntil(600);
    expect(play.types).toEqual(['evict', 'halt']);
    expect(play.error).toMatch(/it beats, but has computed one step for 5\d\d ms, longer than the limit of 500 ms/);
  });

  it('has longer where steps are slow', () => {
    const play = Play.training(2).beatUntil(50).beat('a', { step: 1 }).beat('b', { step: 1, stage: 'computing' });
    expect(play.beatUntil(1_000).types).toEqual([]);
    expect(play.beatUntil(1_500).types).toEqual(['evict', 'halt']);
  });

  it('has longer where the others needed long for this very step', () => {
    const play = Play.training(2).beat('a', { step: 1, stage: 'computing' }).beat('b', { step: 1, stage: 'computing' });
    play.beatUntil(100).beat('a', { step: 1 });
    expect(play.beatUntil(1_900).types).toEqual([]);
  });

  it('has much longer where all compute, or it is alone', () => {
    const play = Play.training(1).beat('a', { step: 1, stage: 'computing' });
    expect(play.beatUntil(20_000).types).toEqual([]);
    expect(play.beatUntil(31_000).types).toEqual(['evict']);
  });

  it('is evicted when it stays between two steps, as in a validation, while the others wait', () => {
    const play = Play.training(2).beat('a', { step: 1 }).beat('b', { step: 1, stage: 'between' });
    expect(play.beatUntil(700).types).toEqual([]);
    expect(play.beatUntil(900).types).toEqual(['evict', 'halt']);
    expect(play.error).toMatch(
      /Worker b .*it beats, but has begun no step for 8\d\d ms, longer than the limit of 800 ms/,
    );
  });

  it('has longer between two steps where the others needed long there', () => {
    const play = Play.training(2).beat('a', { step: 1, stage: 'between' }).beat('b', { step: 1, stage: 'between' });
    play.beatUntil(100).beat('a', { step: 1, stage: 'computing' }).beat('a', { step: 1 });
    expect(play.beatUntil(1_900).types).toEqual([]);
    expect(play.beatUntil(2_500).types).toEqual(['evict', 'halt']);
  });

  it('is evicted when it loads for ever, whatever it beats', () => {
    const play = new Play().hello('a', 'b').beatUntil(2_900);
    expect(play.types).toEqual([]);
    play.beatUntil(3_100);
    expect(play.types).toContain('evict');
    expect(play.error).toMatch(
      /Worker a .*it beats, but has not got ready for 30\d\d ms, longer than the limit of 3000 ms/,
    );
  });

  it('is evicted when it does not halt', () => {
    const play = Play.training(3).lost('c').halted({ a: 1 }).beatUntil(400);
    expect(play.error).toMatch(/Worker b .*it beats, but has not halted for 3\d\d ms/);
  });

  it('is evicted when it does not connect, unless its words show that it gets on', () => {
    const play = Play.training(3).lost('c').halted({ a: 1, b: 1 }).connected('a').beatUntil(200);
    play.beat('b', { waiting: 'half of the state is here' });
    expect(play.beatUntil(400).types).toEqual([]);
    expect(play.beatUntil(550).types).toEqual([]);
    expect(play.beatUntil(700).error).toMatch(/Worker b .*it beats, but has not connected for 4\d\d ms/);
  });
});

describe('workers that all wait for one another', () => {
  /** As test/unit/waiting.test.ts has them. */
  const wordsWith = (numHere: number): string =>
    `Step 1 is not committed: bucket 0 of 120 waits for partials from rank 1; ${numHere} of 480 frames are here`;
  const waiting = wordsWith(37);

  /** All at step 1, and blocked; the coordinator's clock is at 10 ms. */
  function blocked(numWorkers: number): Play {
    const play = Play.training(numWorkers);
    for (const workerId of play.state.members.keys())
      play.take({ type: 'heartbeat', workerId, step: 1, waiting, stage: 'reducing' }, 10);
    return play;
  }

  it('link anew when nothing has got on for as long as a step may take', () => {
    const play = blocked(2).beatUntil(500);
    expect(play.types).toEqual([]);
    play.beatUntil(560);
    expect(play.effects).toEqual([
      {
        type: 'warn',
        text: expect.stringContaining(`nothing has got on for 500 ms: a says "${waiting}", b says`) as string,
      },
      { type: 'halt', generation: 2, workerIds: ['a', 'b'] },
    ]);
  });

  it('do not where the words of one show that something comes in', () => {
    const play = blocked(2).beatUntil(400);
    play.beat('b', { step: 1, stage: 'reducing', waiting: wordsWith(38) });
    expect(play.beatUntil(880).types).toEqual([]);
    expect(play.beatUntil(950).types).toEqual(['warn', 'halt']);
  });

  it('do not where one of them does something else meanwhile', () => {
    const play = blocked(3).beat('c', { step: 1, waiting: 'a checkpoint is written' });
    expect(play.beatUntil(5_000).types).toEqual([]);
  });
});

describe('a stop', () => {
  it('ends all workers after the furthest step that any has begun', () => {
    const play = Play.training(2).take({ type: 'stop' });
    expect(play.effects).toEqual([{ type: 'drain', workerIds: ['a', 'b'] }]);
    expect(play.take(holds('a', 7)).types).toEqual([]);
    expect(play.reason).toBe('The run stops: waiting for b');
    expect(play.take(holds('b', 8)).effects).toEqual([{ type: 'stop-after', step: 8, workerIds: ['a', 'b'] }]);
  });

  it('goes on to the step that a worker has begun, whatever its heartbeats say of those committed', () => {
    const play = Play.training(2).take({ type: 'stop' }).take(holds('a', 8));
    play.beat('a', { step: 7, waiting: 'partials from rank 1' });
    expect(play.take(holds('b', 7)).effects).toMatchObject([{ type: 'stop-after', step: 8 }]);
  });

  it('is agreed once, however often it is asked for', () => {
    const play = Play.training(2).take({ type: 'stop' }).take(holds('a', 7)).take(holds('b', 8));
    expect(play.take({ type: 'stop' }).types).toEqual([]);
    expect(play.take(done('a', 'x', 8)).types).toEqual([]);
    expect(play.take(done('b', 'x', 8)).types).toEqual(['finish']);
  });

  it('lets a worker go on to the end that another has reached already', () => {
    const play = Play.training(2)
      .take(done('a', 'x', 10))
      .take({ type: 'stop' });
    expect(play.take(holds('b', 9)).effects).toMatchObject([{ type: 'stop-after', step: 10 }]);
  });

  it('counts a worker that finishes while the stop is agreed', () => {
    const play = Play.training(2)
      .take({ type: 'stop' })
      .take(holds('b', 9))
      .take(done('a', 'x', 10));
    expect(play.effects).toMatchObject([{ type: 'stop-after', step: 10 }]);
  });

  it.each([
    ['before anybody holds', [] as MembershipEvent[]],
    ['while some hold', [holds('a', 7)]],
    ['when it was agreed', [holds('a', 7), holds('b', 8), holds('c', 8)]],
    ['when some have finished', [holds('a', 7), holds('b', 8), holds('c', 8), done('a', 'x', 8)]],
  ])('survives a loss %s: it is asked for again', (_, before) => {
    const play = Play.training(3).take({ type: 'stop' });
    for (const event of before) play.take(event);
    play.lost('b').halted({ a: 8, c: 7 }).connected('a', 'c');
    expect(play.types).toEqual(['start', 'drain']);
    play.take(holds('a', 9)).take(holds('c', 8));
    expect(play.effects).toMatchObject([{ type: 'stop-after', step: 9 }]);
    expect(play.take(done('a')).take(done('c')).types).toEqual(['finish']);
  });

  it('that comes while a generation is made waits until all go on', () => {
    const play = Play.training(3).lost('b').take({ type: 'stop' });
    expect(play.types).toEqual([]);
    expect(play.halted({ a: 1, c: 1 }).connected('a', 'c').types).toEqual(['start', 'drain']);
  });

  it('before the first step ends the run as an error', () => {
    expect(new Play().hello('a').take({ type: 'stop' }).error).toContain('stopped before its first step');
  });

  it('with no worker left ends the run as an error', () => {
    const play = Play.training(1).lost('a').take({ type: 'stop' });
    expect(play.error).toContain('stopped while it waited for workers');
  });

  it('ends the run as an error when the last worker is lost after it', () => {
    const play = Play.training(2).take({ type: 'stop' }).lost('a', 'b');
    expect(play.error).toContain('stopped while it waited for workers');
  });

  it.each([
    { when: 'while the newest checkpoint is looked for', minWorkers: 1, effects: [] },
    { when: 'while others are waited for, and nobody has the state', minWorkers: 2, effects: ['seek-checkpoint'] },
  ])('that comes $when is taken to its end from there', ({ minWorkers, effects }) => {
    const play = Play.training(2, { isSharded: true, minWorkers }).lost('b').halted({ a: null });
    expect(play.take({ type: 'stop' }).types).toEqual(effects);
    play.take({ type: 'checkpoint-found', checkpoint: { step: 3, path: 'p' } });
    expect(play.effects).toMatchObject([{ type: 'form-generation', step: 3, resumeFrom: 'p' }]);
    expect(play.connected('a').types).toEqual(['start', 'drain']);
  });

  it('is taken to its end by whoever is left, though more are wanted', () => {
    const play = Play.training(2, { minWorkers: 2 }).take({ type: 'stop' }).lost('b').halted({ a: 3 });
    expect(play.effects).toMatchObject([{ type: 'form-generation', step: 3 }]);
  });
});

describe('a worker whose state is not that of the others', () => {
  it('is evicted, and the others go on without it', () => {
    const play = Play.training(3).take({ type: 'diverged', workerIds: ['b'], why: 'its state is another' });
    expect(play.effects).toMatchObject([
      { type: 'evict', workerId: 'b', error: { code: 'ERR_STATE_DIVERGED' } },
      { type: 'halt', workerIds: ['a', 'c'] },
    ]);
    expect(play.state.changes).toMatchObject([{ kind: 'diverged', workerId: 'b' }]);
  });

  it('is of no interest where it is gone already', () => {
    const play = Play.training(3).take({ type: 'diverged', workerIds: ['z'], why: 'its state is another' });
    expect([play.effects, play.state.members.size]).toEqual([[], 3]);
  });
});

describe('a worker that has been slow for too long', () => {
  const slow = (play: Play): Play => play.take({ type: 'straggling', workerId: 'b', why: 'it was 3.0 times as slow' });

  it('is evicted, and the others go on without it', () => {
    const play = slow(Play.training(3));
    expect(play.effects).toMatchObject([
      { type: 'evict', workerId: 'b' },
      { type: 'halt', workerIds: ['a', 'c'] },
    ]);
    expect(play.state.changes).toMatchObject([{ kind: 'slow', workerId: 'b', why: 'it was 3.0 times as slow' }]);
  });

  it.each([
    ['too few would be left', { minWorkers: 3 }],
    ['it has a share of the optimizer', { isSharded: true }],
  ])('stays where %s', (_, config) => {
    const play = slow(Play.training(3, config));
    expect([play.effects, play.state.phase]).toEqual([[], 'training']);
  });

  it('stays where it is alone, or the run stops', () => {
    expect(Play.training(1).take({ type: 'straggling', workerId: 'a', why: 'it was slow' }).effects).toEqual([]);
    expect(slow(Play.training(3).take({ type: 'stop' })).effects).toEqual([]);
  });
});
