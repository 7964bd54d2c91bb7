/**
 * What a worker does about generations, as a state machine with no socket, timer or memory in it: it halts, enters the next
 * generation, comes by the state that it lacks, and says when it stands ready. It runs in the comm thread, so that it answers
 * while TensorFlow computes. What is of an older generation than the newest that was heard of is dropped, with the reason.
 *
 * outside → entering → connected → training, and from each of them → outside, by a halt
 */
import type { Generation, RosterEntry } from '../protocol/messages.js';

export interface ParticipantConfig {
  readonly workerId: string;
  /** Whether this worker alone holds all of the state: not where moments are shared out. */
  readonly holdsAll: boolean;
}

/** How a worker comes by the state that a generation begins with. */
export type Source =
  /** It has it. */
  | { readonly type: 'own' }
  /** Others have it: their ranks. */
  | { readonly type: 'peers'; readonly ranks: readonly number[] }
  /** Nobody has. `checkpoint` null: the job's first weights. */
  | { readonly type: 'checkpoint'; readonly checkpoint: string | null };

/** On the way into a generation. */
export interface Entry {
  readonly generation: Generation;
  readonly self: RosterEntry;
  readonly source: Source;
  /** Every peer is connected. */
  readonly linked: boolean;
  /** The compute thread neither reads nor writes the state, and waits for this generation. */
  readonly resting: boolean;
}

export interface ParticipantState {
  readonly phase: 'outside' | 'entering' | 'connected' | 'training';
  /** The newest that was heard of, by a halt or by itself; 0: none yet. */
  readonly generation: number;
  /** Steps committed, whose state this worker holds whole; null: none. */
  readonly step: number | null;
  /** Null outside. */
  readonly entry: Entry | null;
}

export type ParticipantEvent =
  /** From the coordinator. */
  | { readonly type: 'halt'; readonly generation: number }
  | { readonly type: 'generation'; readonly generation: Generation }
  | { readonly type: 'start'; readonly generation: number; readonly inMemory: boolean }
  /** Of what the effects began. */
  | { readonly type: 'linked'; readonly generation: number }
  /** `filled`: the compute thread has read the state that the generation begins with. */
  | { readonly type: 'resting'; readonly generation: number; readonly filled: boolean }
  | { readonly type: 'fetched'; readonly generation: number }
  /** Steps committed by now. */
  | { readonly type: 'committed'; readonly step: number };

export type ParticipantEffect =
  /** Close the links of the generation before, and what goes with them: nothing of it commits any more. */
  | { readonly type: 'leave' }
  | { readonly type: 'halted'; readonly generation: number; readonly step: number | null }
  /** Link to the peers, and let the compute thread come to rest, and fill the memory where the source is a checkpoint. */
  | { readonly type: 'enter'; readonly entry: Entry }
  /** Bring the state of the generation's step from these ranks. */
  | { readonly type: 'fetch'; readonly generation: number; readonly ranks: readonly number[] }
  | { readonly type: 'connected'; readonly generation: number }
  /** Steps may begin. `inMemory`: all workers of the generation prefer to reduce in memory. */
  | { readonly type: 'begin'; readonly generation: number; readonly inMemory: boolean };

export interface ParticipantTransition {
  readonly state: ParticipantState;
  readonly effects: readonly ParticipantEffect[];
  /** Why nothing was done about an event, or what is still waited for; null: nothing is. */
  readonly reason: string | null;
}

export const outside: ParticipantState = { phase: 'outside', generation: 0, step: null, entry: null };

export function participant(
  config: ParticipantConfig,
  state: ParticipantState,
  event: ParticipantEvent,
): ParticipantTransition {
  switch (event.type) {
    case 'halt':
      return onHalt(state, event.generation);
    case 'generation':
      return onGeneration(config, state, event.generation);
    case 'start':
      return onStart(state, event);
    case 'linked':
      return onEntry(state, event.generation, { linked: true });
    case 'resting':
      return onResting(config, state, event);
    case 'fetched':
      return onState(config, state, event.generation);
    case 'committed':
      return { state: { ...state, step: config.holdsAll ? event.step : null }, effects: [], reason: null };
  }
}

/** The halt of a generation that was entered already is late: it was made before that. */
function onHalt(state: ParticipantState, generation: number): ParticipantTransition {
  const entered = state.entry?.generation.generation ?? 0;
  if (generation < state.generation || generation <= entered) return dropped(state, `the halt of ${generation}`);
  const { step } = state;
  return {
    state: { phase: 'outside', generation, step, entry: null },
    effects: [...leaving(state), { type: 'halted', generation, step }],
    reason: `Generation ${generation} is being made`,
  };
}

function onGeneration(
  { workerId }: ParticipantConfig,
  state: ParticipantState,
  generation: Generation,
): ParticipantTransition {
  const number = generation.generation;
  const entered = state.entry?.generation.generation ?? 0;
  const self = generation.workers.find((worker) => worker.workerId === workerId);
  if (number < state.generation || number <= entered) return dropped(state, `generation ${number}`);
  if (!self) return dropped(state, `generation ${number}, of which it is no part`);
  const source = sourceOf(generation, state.step);
  const entry: Entry = { generation, self, source, linked: false, resting: false };
  // What nobody holds is read over what is here.
  const step = source.type === 'checkpoint' ? null : state.step;
  const next: ParticipantState = { phase: 'entering', generation: number, step, entry };
  return { state: next, effects: [...leaving(state), { type: 'enter', entry }], reason: waitingFor(entry) };
}

function sourceOf({ workers, step, resumeFrom }: Generation, held: number | null): Source {
  if (held === step) return { type: 'own' };
  const ranks = workers.flatMap((worker) => (worker.step === step ? worker.rank : []));
  return ranks.length > 0 ? { type: 'peers', ranks } : { type: 'checkpoint', checkpoint: resumeFrom };
}

function onEntry(
  state: ParticipantState,
  generation: number,
  change: Partial<Pick<Entry, 'linked' | 'resting'>>,
): ParticipantTransition {
  const before = state.entry;
  if (state.phase !== 'entering' || before?.generation.generation !== generation) {
    return dropped(state, `an answer about generation ${generation}`);
  }
  const entry = { ...before, ...change };
  const { source } = entry;
  const isWhole = source.type === 'own' || (source.type === 'checkpoint' && entry.resting);
  const next = { ...state, entry };
  if (!entry.linked || !(isWhole || entry.resting)) return { state: next, effects: [], reason: waitingFor(entry) };
  if (source.type === 'peers') {
    return { state: next, effects: [{ type: 'fetch', generation, ranks: source.ranks }], reason: waitingFor(entry) };
  }
  return standReady(next, generation);
}

function onResting(
  config: ParticipantConfig,
  before: ParticipantState,
  { generation, filled }: Extract<ParticipantEvent, { type: 'resting' }>,
): ParticipantTransition {
  const { entry } = before;
  if (entry?.generation.generation !== generation) return dropped(before, `an answer about generation ${generation}`);
  // Where the state is its own, it may train before its compute thread has come to rest.
  if (before.phase !== 'entering')
    return { state: { ...before, entry: { ...entry, resting: true } }, effects: [], reason: null };
  const state = filled && config.holdsAll ? { ...before, step: entry.generation.step } : before;
  return onEntry(state, generation, { resting: true });
}

function onState(config: ParticipantConfig, state: ParticipantState, generation: number): ParticipantTransition {
  const { entry } = state;
  if (state.phase !== 'entering' || entry?.generation.generation !== generation) {
    return dropped(state, `the state of generation ${generation}`);
  }
  const step = config.holdsAll ? entry.generation.step : null;
  return standReady({ ...state, step, entry: { ...entry, source: { type: 'own' } } }, generation);
}

function standReady(state: ParticipantState, generation: number): ParticipantTransition {
  return {
    state: { ...state, phase: 'connected' },
    effects: [{ type: 'connected', generation }],
    reason: `Generation ${generation} has not started`,
  };
}

function onStart(
  state: ParticipantState,
  { generation, inMemory }: Extract<ParticipantEvent, { type: 'start' }>,
): ParticipantTransition {
  if (state.phase !== 'connected' || state.entry?.generation.generation !== generation) {
    return dropped(state, `the start of generation ${generation}`);
  }
  return { state: { ...state, phase: 'training' }, effects: [{ type: 'begin', generation, inMemory }], reason: null };
}

function leaving({ phase }: ParticipantState): ParticipantEffect[] {
  return phase === 'outside' ? [] : [{ type: 'leave' }];
}

function dropped(state: ParticipantState, what: string): ParticipantTransition {
  return { state, effects: [], reason: `Dropped ${what}: generation ${state.generation} is ${state.phase}` };
}

function waitingFor({ generation: { generation, step }, source, linked, resting }: Entry): string {
  const entering = `Generation ${generation} is being entered`;
  if (!linked) return `${entering}: not all peers are connected`;
  if (!resting) return `${entering}: the compute thread is not at rest`;
  const from = source.type === 'peers' ? `rank ${source.ranks.join(', ')}` : 'a checkpoint';
  return `${entering}: the state after step ${step} comes from ${from}`;
}
