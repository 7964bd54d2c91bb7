/** A coordinator that hears nothing of anybody, as its host is cut off: nobody is lost before somebody else is heard. */
import { describe, expect, it } from 'vitest';
import { beginMembership, membership } from '../../coordinator/membership.js';
import type { MembershipConfig, MembershipEffect, MembershipEvent } from '../../coordinator/membership-state.js';
import { defaultLimits } from '../../src/protocol/limits.js';
import type { Standing } from '../../src/protocol/messages.js';

const patience = { ...defaultLimits, heartbeatTimeoutMs: 100, returnTimeoutMs: 400, workersTimeoutMs: 2_000 };
const addresses = { hostId: 'h', unixPath: null, tcp: ['10.0.0.1:1'] };
const facts = { 'job file': 'x' };
const config: MembershipConfig = {
  ...{ runId: 'r', term: 1, past: null, numWorkers: 3, minWorkers: 1, slots: 3, isSharded: false },
  ...{ checkpoint: null, facts: {}, patience },
};
const ids = ['a', 'b', 'c'];
const tickMs = 10;

/** A run that trains in generation 1, at step 5, with a, b and c, of whom these are on other hosts. */
class Play {
  #state = beginMembership(config, 0);
  readonly effects: MembershipEffect[] = [];
  reason: string | null = null;
  nowMs = 0;

  constructor(...remote: readonly string[]) {
    for (const workerId of ids) this.hello(workerId, { isRemote: remote.includes(workerId), standing: null });
    for (const workerId of ids) this.take({ type: 'ready', workerId, device: 'cpu', addresses, facts });
    for (const workerId of ids) this.take({ type: 'connected', workerId, generation: 1, prefersMemory: false });
    this.beat(...ids);
    this.effects.length = 0;
  }

  take(event: MembershipEvent): void {
    const { state, effects, reason } = membership(config, this.#state, event, this.nowMs);
    this.#state = state;
    this.effects.push(...effects);
    this.reason = reason;
  }

  hello(workerId: string, changes: Partial<Extract<MembershipEvent, { type: 'hello' }>> = {}): void {
    const who = { workerId, host: workerId, pid: 1, isRemote: true, standing: this.standing };
    this.take({ type: 'hello', ...who, ...changes });
  }

  get standing(): Standing {
    const where = { generation: 1, entered: 1, workers: [...this.#state.roster], step: 9, isTraining: true };
    return { runId: 'r', term: 1, awayMs: 600, facts, ...where };
  }

  beat(...beating: readonly string[]): void {
    for (const workerId of beating) this.take({ type: 'heartbeat', workerId, step: 5, waiting: null, stage: null });
  }

  /** As it is told to a worker that is heard again. */
  comesBack(workerId: string): void {
    this.hello(workerId);
    this.take({ type: 'ready', workerId, device: 'cpu', addresses, facts });
  }

  /** A new worker of the coordinator's own host, for which there is a place. */
  loads(workerId: string): void {
    this.take({ type: 'scale', numWorkers: ids.length + 2 });
    this.hello(workerId, { isRemote: false, standing: null });
  }

  /** For so long only these beat. */
  goOn(durationMs: number, ...beating: readonly string[]): void {
    for (const endMs = this.nowMs + durationMs; this.nowMs < endMs; this.nowMs += tickMs) {
      this.beat(...beating);
      this.take({ type: 'tick' });
    }
  }

  get types(): string[] {
    return this.effects.map(({ type }) => type);
  }
}

describe('a coordinator that hears nothing of any worker', () => {
  it('gives up their connections, says so, and takes nobody for lost', () => {
    const play = new Play(...ids);
    play.goOn(1_500);
    expect(play.effects).toEqual([{ type: 'forget', workerIds: ids }]);
    expect(play.reason).toMatch(/^Nothing is heard of any worker: this host may be cut off from the network/);
  });

  it('goes on with all of them as they are, when they are heard again', () => {
    const play = new Play(...ids);
    play.goOn(1_500);
    play.effects.length = 0;
    for (const workerId of ids) play.comesBack(workerId);
    expect(play.types).toEqual(['welcome', 'welcome', 'welcome', 'adopt']);
    const why = 'it was cut off from all workers';
    expect(play.effects.at(-1)).toMatchObject({
      step: 9,
      recoveries: [{ kind: 'coordinator', workerId: null, why, detectedMs: 600, recomputedSlots: 0 }],
    });
  });

  it('ends when it hears that another coordinator has the run', () => {
    const play = new Play(...ids);
    play.goOn(1_500);
    play.hello('a', { standing: { ...play.standing, term: 2 } });
    expect(play.effects.at(-1)).toMatchObject({ type: 'yield', error: { code: 'ERR_COORDINATOR_REPLACED' } });
  });

  it('gives the others some time from the first that is heard, and then goes on without them', () => {
    const play = new Play(...ids);
    play.goOn(1_500);
    play.effects.length = 0;
    play.comesBack('b');
    play.comesBack('c');
    play.goOn(350, 'b', 'c');
    expect(play.types).toEqual(['welcome', 'welcome']);
    play.goOn(100, 'b', 'c');
    expect(play.effects.at(-1)).toEqual({ type: 'halt', generation: 2, workerIds: ['b', 'c'] });
  });

  it('takes them for lost when one that it has not known is heard, and they are not', () => {
    const play = new Play(...ids);
    play.goOn(1_500);
    play.hello('d', { standing: null });
    play.goOn(500);
    expect(play.reason).toMatch(/^No worker trains/);
  });

  it('learns nothing of the network from one of its own host that has no part in the run', () => {
    const play = new Play(...ids);
    play.goOn(50, ...ids);
    play.loads('d');
    play.goOn(1_500, 'd');
    expect(play.effects.slice(1)).toEqual([{ type: 'forget', workerIds: ids }]);
    play.loads('e');
    play.goOn(500, 'd', 'e');
    expect(play.reason).toMatch(/^Nothing is heard of any worker/);
  });

  it('waits for them no longer than for any worker', () => {
    const play = new Play(...ids);
    play.goOn(2_300);
    expect(play.reason).toMatch(/^No worker trains/);
  });

  it('that one of them is silent first does not make it lost', () => {
    const play = new Play(...ids);
    play.goOn(40, 'b', 'c');
    play.goOn(500);
    expect(play.effects).toEqual([{ type: 'forget', workerIds: ids }]);
  });
});

it('one that is silent while another one is heard is lost', () => {
  const play = new Play(...ids);
  play.goOn(200, 'a', 'c');
  expect(play.effects.slice(0, 2)).toMatchObject([
    { type: 'evict', workerId: 'b' },
    { type: 'halt', workerIds: ['a', 'c'] },
  ]);
});

it('the silence of workers of the same host is never the network', () => {
  const play = new Play('b', 'c');
  play.goOn(500);
  expect(play.effects[0]).toMatchObject({ type: 'evict', workerId: 'a' });
});

it('a run goes on with its worker on the host of the coordinator when those of other hosts are silent', () => {
  const play = new Play('b', 'c');
  play.goOn(500, 'a');
  expect(play.effects.slice(0, 3)).toMatchObject([
    { type: 'evict', workerId: 'b' },
    { type: 'halt', workerIds: ['a', 'c'] },
    { type: 'evict', workerId: 'c' },
  ]);
  expect(play.effects.at(-1)).toEqual({ type: 'halt', generation: 3, workerIds: ['a'] });
});
