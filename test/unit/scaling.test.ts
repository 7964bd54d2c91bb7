import { describe, expect, it } from 'vitest';
import { beginMembership, membership } from '../../coordinator/membership.js';
import type { MembershipEffect, MembershipEvent, MembershipState } from '../../coordinator/membership-state.js';
import { refuseScale } from '../../coordinator/scaling.js';
import { patience } from '../support/patience.js';

const run = { runId: 'r', term: 1, past: null, checkpoint: null, facts: {}, patience };
const config = { ...run, minWorkers: 1, maxWorkers: 4, slots: 4, isSharded: false };

class Run {
  state: MembershipState;
  readonly effects: MembershipEffect[] = [];
  readonly #config;

  /** With as many workers as it begins with: a, b, … */
  constructor(numWorkers: number, changes: Partial<typeof config> = {}) {
    this.#config = { ...config, ...changes, numWorkers };
    this.state = beginMembership(this.#config, 0);
    const ids = 'abcd'.slice(0, numWorkers).split('');
    this.come(...ids);
    this.#connect(...ids);
  }

  take(event: MembershipEvent): this {
    const { state, effects } = membership(this.#config, this.state, event, this.state.nowMs + 1);
    this.state = state;
    this.effects.push(...effects);
    return this;
  }

  come(...ids: readonly string[]): this {
    for (const workerId of ids)
      this.take({ type: 'hello', workerId, host: 'h', pid: 1, isRemote: false, standing: null });
    const addresses = { hostId: 'h', unixPath: null, tcp: [] };
    for (const workerId of ids) this.take({ type: 'ready', workerId, device: 'cpu', addresses, facts: {} });
    return this;
  }

  scale(numWorkers: number): this {
    this.effects.length = 0;
    return this.take({ type: 'scale', numWorkers });
  }

  /** The moves of the generation that is being made, to the end. */
  regroup(step: number): this {
    const { generation, roster } = this.state;
    for (const workerId of this.#here(roster)) this.take({ type: 'halted', workerId, generation, step });
    this.#connect(...this.#here(this.state.roster));
    return this;
  }

  refusal(numWorkers: number): string | undefined {
    return refuseScale(this.#config, this.state, numWorkers)?.message;
  }

  get roster(): string[] {
    return this.state.roster.map(({ workerId, firstSlot, endSlot }) => `${workerId} ${firstSlot}-${endSlot}`);
  }

  get dismissed(): string[] {
    return this.effects.flatMap((effect) => (effect.type === 'dismiss' ? effect.workerId : []));
  }

  #connect(...ids: readonly string[]): void {
    const { generation } = this.state;
    for (const workerId of ids) this.take({ type: 'connected', workerId, generation, prefersMemory: false });
  }

  #here(roster: MembershipState['roster']): string[] {
    return roster.flatMap(({ workerId }) => (this.state.members.has(workerId) ? workerId : []));
  }
}

describe('a run that is scaled', () => {
  it('up takes in a newcomer that it refused before', () => {
    const run = new Run(1)
      .come()
      .take({ type: 'hello', workerId: 'b', host: 'h', pid: 1, isRemote: false, standing: null });
    expect(run.effects.at(-1)?.type).toBe('refuse');
    run.scale(2).come('b').regroup(5);
    expect(run.roster).toEqual(['a 0-2', 'b 2-4']);
    expect(run.state.phase).toBe('training');
  });

  it('down lets the last ranks go, and goes on with the others', () => {
    const run = new Run(3).scale(1);
    expect(run.dismissed).toEqual(['c', 'b']);
    run.regroup(5);
    expect(run.roster).toEqual(['a 0-4']);
    const [start] = run.effects.flatMap((effect) => (effect.type === 'start' ? effect : []));
    expect(start?.recoveries).toMatchObject([
      { kind: 'left', workerId: 'c', why: 'by wish: the run was scaled to 1 worker(s)', step: 5 },
      { kind: 'left', workerId: 'b' },
    ]);
  });

  it('down lets those go first that only load', () => {
    const run = new Run(2)
      .scale(3)
      .take({ type: 'hello', workerId: 'c', host: 'h', pid: 1, isRemote: false, standing: null })
      .scale(2);
    expect(run.dismissed).toEqual(['c']);
    expect(run.state.phase).toBe('training');
  });

  it('is remembered by a coordinator that comes back', () => {
    const past = { numWanted: 3, generation: 1, roster: new Run(1).state.roster, checkpoint: null };
    expect(beginMembership({ ...config, past, numWorkers: 1 }, 0).numWanted).toBe(3);
  });

  it('before it begins does so with as many as it wants by then', () => {
    const run = new Run(0 + 2);
    const early = beginMembership({ ...config, numWorkers: 3 }, 0);
    run.state = early;
    run.come('a', 'b');
    expect(run.state.phase).toBe('gathering');
    run.scale(2);
    expect(run.roster).toEqual(['a 0-2', 'b 2-4']);
  });

  it.each([
    [5, {}, 'it has 4 slot(s), fixed when it began, and each worker needs one. Start a run with --set slots=5'],
    [1, { minWorkers: 2 }, 'it was started with --min-workers 2'],
    [3, { maxWorkers: 2 }, 'it was started with --max-workers 2'],
    [1, { isSharded: true }, 'its optimizer is sharded'],
  ])('cannot have %i workers with %o', (numWorkers, changes, why) => {
    expect(new Run(2, changes).refusal(numWorkers)).toContain(why);
  });

  it('cannot be scaled when it is about to end', () => {
    const run = new Run(2);
    expect(run.refusal(3)).toBeUndefined();
    expect(run.take({ type: 'stop' }).refusal(3)).toContain('it is about to end');
  });
});
