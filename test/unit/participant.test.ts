/** What a worker does about generations, event by event. */
import { describe, expect, test } from 'vitest';
import { noPartials, slotsToCompute, withPartial } from '../../src/collective/kept-partials.js';
import {
  outside,
  participant,
  type ParticipantEffect,
  type ParticipantEvent,
  type ParticipantState,
} from '../../src/membership/participant.js';
import type { Generation } from '../../src/protocol/messages.js';

function generationOf(
  generation: number,
  step: number,
  steps: Readonly<Record<string, number | null>>,
  resumeFrom: string | null = null,
): Generation {
  const workers = Object.entries(steps).map(([workerId, held], rank) => ({
    workerId,
    rank,
    host: 'h',
    firstSlot: rank,
    endSlot: rank + 1,
    addresses: { hostId: 'h', unixPath: null, tcp: [] },
    step: held,
  }));
  return { generation, step, resumeFrom, workers };
}

interface Run {
  readonly state: ParticipantState;
  readonly effects: readonly ParticipantEffect[];
  readonly reason: string | null;
}

/** Worker `a`, after some events: with the effects and the reason of the last one. */
function after(events: readonly ParticipantEvent[], holdsAll = true): Run {
  let state = outside;
  let last: Run = { state, effects: [], reason: null };
  for (const event of events) {
    last = participant({ workerId: 'a', holdsAll }, state, event);
    ({ state } = last);
  }
  return last;
}

const types = ({ effects }: Run): string[] => effects.map(({ type }) => type);

/** Two workers that begin, until they train. */
const begun: readonly ParticipantEvent[] = [
  { type: 'halt', generation: 1 },
  { type: 'generation', generation: generationOf(1, 0, { a: null, b: null }) },
  { type: 'linked', generation: 1 },
  { type: 'resting', generation: 1, filled: true },
  { type: 'start', generation: 1, inMemory: true },
];
const trained: readonly ParticipantEvent[] = [...begun, { type: 'committed', step: 7 }];

describe('a worker', () => {
  test('that begins reads the first weights where nobody has any state', () => {
    expect(after(begun.slice(0, 1)).effects).toEqual([{ type: 'halted', generation: 1, step: null }]);
    const entering = after(begun.slice(0, 2));
    expect(entering.effects).toMatchObject([
      { type: 'enter', entry: { source: { type: 'checkpoint', checkpoint: null }, self: { rank: 0 } } },
    ]);
    expect(entering.reason).toBe('Generation 1 is being entered: not all peers are connected');
    expect(after(begun.slice(0, 3)).reason).toContain('the compute thread is not at rest');
    expect(after(begun.slice(0, 4)).effects).toEqual([{ type: 'connected', generation: 1 }]);
    expect(after(begun).effects).toEqual([{ type: 'begin', generation: 1, inMemory: true }]);
  });

  test('stands ready in whatever order the links and the state come', () => {
    const [halt, generation, linked, resting] = begun;
    const events = [halt, generation, resting, linked].filter((event) => event !== undefined);
    expect(types(after(events.slice(0, 3)))).toEqual([]);
    expect(types(after(events))).toEqual(['connected']);
  });

  test('that is halted leaves at once, and says what it has committed', () => {
    const { effects, state } = after([...trained, { type: 'halt', generation: 2 }]);
    expect(effects).toEqual([{ type: 'leave' }, { type: 'halted', generation: 2, step: 7 }]);
    expect(state).toMatchObject({ phase: 'outside', step: 7, entry: null });
  });

  test('that has the state stands ready as soon as it is linked, while TensorFlow still computes', () => {
    const entered = [
      ...trained,
      { type: 'halt', generation: 2 },
      { type: 'generation', generation: generationOf(2, 7, { a: 7 }) },
      { type: 'linked', generation: 2 },
    ] as const;
    expect(after(entered).effects).toEqual([{ type: 'connected', generation: 2 }]);
    const started = [...entered, { type: 'start', generation: 2, inMemory: true }] as const;
    expect(after([...started, { type: 'resting', generation: 2, filled: false }])).toMatchObject({
      effects: [],
      state: { phase: 'training', step: 7 },
    });
  });

  test('that is behind fetches the state from those that have it, and holds its own until then', () => {
    const generation = generationOf(2, 8, { a: 7, b: 8, c: null, d: 8 });
    const entered = [
      ...trained,
      { type: 'halt', generation: 2 },
      { type: 'generation', generation },
      { type: 'linked', generation: 2 },
    ] as const;
    expect(types(after(entered))).toEqual([]);
    const fetching = [...entered, { type: 'resting', generation: 2, filled: false }] as const;
    expect(after(fetching).effects).toEqual([{ type: 'fetch', generation: 2, ranks: [1, 3] }]);
    expect(after([...fetching, { type: 'halt', generation: 3 }]).effects).toContainEqual({
      type: 'halted',
      generation: 3,
      step: 7,
    });
    const fetched = after([...fetching, { type: 'fetched', generation: 2 }]);
    expect(fetched).toMatchObject({ effects: [{ type: 'connected' }], state: { step: 8 } });
  });

  test('reads the checkpoint where nobody has the state, and has none while it does', () => {
    const generation = generationOf(2, 5, { a: null, b: null }, 'step-5');
    const entered = [...trained, { type: 'halt', generation: 2 }, { type: 'generation', generation }] as const;
    expect(after(entered)).toMatchObject({
      effects: [{ type: 'enter', entry: { source: { type: 'checkpoint', checkpoint: 'step-5' } } }],
      state: { step: null },
    });
    const filled = after([...entered, { type: 'resting', generation: 2, filled: true }]);
    expect(filled.state.step).toBe(5);
  });

  test('that holds a part of the moments never has the state whole', () => {
    expect(after([...trained, { type: 'halt', generation: 2 }], false).effects).toContainEqual({
      type: 'halted',
      generation: 2,
      step: null,
    });
  });

  test('that is halted on its way in begins anew with the next number', () => {
    const events = [...begun.slice(0, 3), { type: 'halt', generation: 2 }] as const;
    expect(types(after(events))).toEqual(['leave', 'halted']);
    const late = after([...events, { type: 'resting', generation: 1, filled: true }]);
    expect(late).toMatchObject({ effects: [], state: { step: null } });
    expect(late.reason).toBe('Dropped an answer about generation 1: generation 2 is outside');
  });

  test.each([
    ['the halt', { type: 'halt', generation: 1 }],
    ['the generation', { type: 'generation', generation: generationOf(1, 0, { a: null }) }],
    ['the start', { type: 'start', generation: 1, inMemory: true }],
    ['a link', { type: 'linked', generation: 1 }],
    ['the state', { type: 'fetched', generation: 1 }],
    ['a roster without it', { type: 'generation', generation: generationOf(3, 7, { b: 7 }) }],
  ] as const)('drops what is of an older generation, or not for it: %s', (_, event) => {
    const before = [...trained, { type: 'halt', generation: 2 }] as const;
    const { state } = after(before);
    const { effects, reason, state: next } = after([...before, event]);
    expect({ effects, next }).toEqual({ effects: [], next: state });
    expect(reason).toMatch(/^Dropped /);
  });

  test('answers a halt that is said again', () => {
    const halt = { type: 'halt', generation: 2 } as const;
    expect(after([...trained, halt, halt]).effects).toEqual([{ type: 'halted', generation: 2, step: 7 }]);
  });

  test('enters a generation of which no halt has told', () => {
    const generation = generationOf(4, 7, { a: 7, b: 7 });
    expect(types(after([...trained, { type: 'generation', generation }]))).toEqual(['leave', 'enter']);
  });
});

describe('partials that are kept', () => {
  const kept = withPartial(withPartial(noPartials, 3, 1), 3, 2);

  test('need not be computed again at their step', () => {
    expect(slotsToCompute(kept, 3, { firstSlot: 0, endSlot: 4 })).toEqual([0, 3]);
    expect(slotsToCompute(kept, 3, { firstSlot: 1, endSlot: 3 })).toEqual([]);
  });

  test('are of no use at another one', () => {
    expect(slotsToCompute(kept, 4, { firstSlot: 1, endSlot: 3 })).toEqual([1, 2]);
    expect(slotsToCompute(withPartial(kept, 4, 1), 4, { firstSlot: 1, endSlot: 3 })).toEqual([2]);
    expect(slotsToCompute(noPartials, 0, { firstSlot: 0, endSlot: 1 })).toEqual([0]);
  });
});
