/**
 * Who is in the run, as a state machine with no socket, timer or file in it: workers say hello, get ready, form a
 * generation, train, and finish together. Time comes in with each event. A decision that is not taken yet carries its
 * reason.
 *
 * gathering → connecting → training ⇄ draining → finished, and from each of them → failed
 */
import { assignSlots } from '../src/collective/assignment.js';
import { LockstepError } from '../src/errors.js';
import { compareFacts } from '../src/protocol/facts.js';
import type { RosterEntry } from '../src/protocol/messages.js';
import type {
  Member,
  MembershipConfig,
  MembershipEffect,
  MembershipEvent,
  MembershipState,
  MembershipTransition,
  WorkerState,
} from './membership-state.js';

export function beginMembership(config: MembershipConfig): MembershipState {
  return { phase: 'gathering', members: new Map(), generation: 0, roster: [], facts: config.facts, stopAfter: null };
}

export function membership(
  config: MembershipConfig,
  state: MembershipState,
  event: MembershipEvent,
  nowMs: number,
): MembershipTransition {
  const { state: next, effects } = step(config, state, event, nowMs);
  return { state: next, effects, reason: waitingFor(config, next) };
}

type Step = Omit<MembershipTransition, 'reason'>;

function step(config: MembershipConfig, state: MembershipState, event: MembershipEvent, nowMs: number): Step {
  if (state.phase === 'finished' || state.phase === 'failed') return onEventAfterEnd(state, event);
  switch (event.type) {
    case 'hello':
      return onHello(config, state, event, nowMs);
    case 'ready':
      return onReady(config, state, event, nowMs);
    case 'connected':
      return onConnected(state, event, nowMs);
    case 'heartbeat': {
      const { workerId, waiting } = event;
      // A worker that holds has told of the step that it has begun, which is one more than it has committed.
      const furthest = Math.max(state.members.get(workerId)?.step ?? 0, event.step);
      return { state: update(state, workerId, { step: furthest, waiting, lastSeenMs: nowMs }), effects: [] };
    }
    case 'draining':
      return onDraining(state, event, nowMs);
    case 'finished':
      return onFinished(state, event, nowMs);
    case 'failed':
      return onFailed(state, event);
    case 'lost':
      return onLost(state, event);
    case 'abandon':
      return fail(state, event.error, []);
    case 'stop':
      return onStop(state);
    case 'tick':
      return onTick(config, state, nowMs);
  }
}

function onEventAfterEnd(state: MembershipState, event: MembershipEvent): Step {
  if (event.type !== 'hello') return { state, effects: [] };
  const error = new LockstepError('ERR_PROTOCOL', `The run is over (${state.phase}); no worker can join it.`);
  return { state, effects: [{ type: 'refuse', workerId: event.workerId, error }] };
}

function onHello(
  config: MembershipConfig,
  state: MembershipState,
  { workerId, host, pid }: Extract<MembershipEvent, { type: 'hello' }>,
  nowMs: number,
): Step {
  const refusal = refuseNewcomer(config, state, workerId);
  if (refusal) return { state, effects: [{ type: 'refuse', workerId, error: refusal }] };
  const member: Member = {
    workerId,
    host,
    pid,
    state: 'loading',
    step: 0,
    waiting: null,
    lastSeenMs: nowMs,
    device: '',
    addresses: null,
    weightsSha256: null,
  };
  const members = new Map([...state.members, [workerId, member]]);
  return { state: { ...state, members }, effects: [{ type: 'welcome', workerId }] };
}

function refuseNewcomer(config: MembershipConfig, state: MembershipState, workerId: string): LockstepError | null {
  if (state.members.has(workerId)) {
    return new LockstepError(
      'ERR_PROTOCOL',
      `There is a worker ${workerId} already; each start needs an id of its own.`,
    );
  }
  if (state.phase === 'gathering' && state.members.size < config.numWorkers) return null;
  return new LockstepError(
    'ERR_PROTOCOL',
    `The run has its ${config.numWorkers} workers; one more cannot join. Start the coordinator with a larger --workers.`,
  );
}

function onReady(
  config: MembershipConfig,
  before: MembershipState,
  event: Extract<MembershipEvent, { type: 'ready' }>,
  nowMs: number,
): Step {
  const { workerId, device, addresses } = event;
  if (before.members.get(workerId)?.state !== 'loading') {
    throw new LockstepError('ERR_PROTOCOL', `Worker ${workerId} was not expected to get ready.`);
  }
  const differences = compareFacts(before.facts, event.facts);
  if (differences.length > 0) {
    const what = differences.slice(0, 5).join('; ');
    const message = `Worker ${workerId} does not fit the run: ${what}. Give all workers the same job, data and Lockstep.`;
    const error = new LockstepError('ERR_WORKER_MISMATCH', message, { details: { workerId, differences } });
    const members = new Map([...before.members].filter(([id]) => id !== workerId));
    return { state: { ...before, members }, effects: [{ type: 'refuse', workerId, error }] };
  }
  const facts = { ...event.facts, ...before.facts };
  const known = { device, addresses, lastSeenMs: nowMs, state: 'ready' } as const;
  const state = update({ ...before, facts }, workerId, known);
  const ready = [...state.members.values()].filter((member) => member.state === 'ready');
  if (ready.length < config.numWorkers) return { state, effects: [] };
  return formGeneration(config, state, ready);
}

/** Ranks by host, then in the order of the workers' ids; slots by rank. So the slots of a host are neighbours. */
function formGeneration(config: MembershipConfig, state: MembershipState, ready: readonly Member[]): Step {
  const slots = assignSlots(config.slots, ready.length);
  const ordered = groupByHost(ready.toSorted((a, b) => (a.workerId < b.workerId ? -1 : 1)));
  const roster = ordered.flatMap(({ workerId, host, addresses }, rank): RosterEntry[] => {
    const range = slots[rank];
    return range && addresses ? [{ workerId, rank, host, ...range, addresses }] : [];
  });
  const generation = state.generation + 1;
  return {
    state: { ...state, phase: 'connecting', generation, roster },
    effects: [{ type: 'form-generation', generation, roster }],
  };
}

/** Hosts in the order of their first worker. */
function groupByHost(members: readonly Member[]): Member[] {
  const hosts = new Map<string, Member[]>();
  for (const member of members) {
    const hostId = member.addresses?.hostId ?? '';
    hosts.set(hostId, [...(hosts.get(hostId) ?? []), member]);
  }
  return [...hosts.values()].flat();
}

function onConnected(
  before: MembershipState,
  { workerId, generation }: Extract<MembershipEvent, { type: 'connected' }>,
  nowMs: number,
): Step {
  if (generation !== before.generation) return { state: before, effects: [] };
  const state = update(before, workerId, { state: 'connected', lastSeenMs: nowMs });
  if (![...state.members.values()].every((member) => member.state === 'connected')) return { state, effects: [] };
  return { state: { ...setAll(state, 'training'), phase: 'training' }, effects: [{ type: 'start', generation }] };
}

/** Ctrl-C: every worker holds after the step that it has begun; the run stops after the furthest of them. */
function onStop(state: MembershipState): Step {
  if (state.phase === 'draining') return { state, effects: [] };
  if (state.phase === 'training') return { state: { ...state, phase: 'draining' }, effects: [{ type: 'drain' }] };
  return fail(state, new LockstepError('ERR_INTERRUPTED', 'The run was stopped before its first step.'), []);
}

function onDraining(
  before: MembershipState,
  { workerId, step: begun }: Extract<MembershipEvent, { type: 'draining' }>,
  nowMs: number,
): Step {
  if (before.members.get(workerId)?.state !== 'training') return { state: before, effects: [] };
  return agreeOnStop(update(before, workerId, { state: 'holding', step: begun, lastSeenMs: nowMs }));
}

/** With every worker holding, or done, the furthest step that one has begun is the last. */
function agreeOnStop(state: MembershipState): Step {
  const members = [...state.members.values()];
  const undecided = state.phase === 'draining' && state.stopAfter === null;
  if (!undecided || members.some((member) => member.state === 'training')) return { state, effects: [] };
  const stopAfter = Math.max(...members.map((member) => member.step));
  return { state: { ...state, stopAfter }, effects: [{ type: 'stop-after', step: stopAfter }] };
}

function onFinished(
  before: MembershipState,
  { workerId, step: committed, weightsSha256 }: Extract<MembershipEvent, { type: 'finished' }>,
  nowMs: number,
): Step {
  const done = { state: 'finished', step: committed, weightsSha256, lastSeenMs: nowMs } as const;
  const state = update(before, workerId, done);
  const members = [...state.members.values()];
  const other = members.find((member) => member.weightsSha256 !== null && member.weightsSha256 !== weightsSha256);
  if (other) {
    const message = `After step ${committed} worker ${workerId} has weights ${weightsSha256} and worker ${other.workerId} has ${other.weightsSha256 ?? ''}.`;
    return fail(
      state,
      new LockstepError('ERR_INTERNAL', `${message} This is a bug in Lockstep; please report it.`),
      [],
    );
  }
  if (!members.every((member) => member.state === 'finished')) return agreeOnStop(state);
  return { state: { ...state, phase: 'finished' }, effects: [{ type: 'finish', step: committed, weightsSha256 }] };
}

/** The worker's own account of why it cannot go on. */
function onFailed(state: MembershipState, { workerId, error }: Extract<MembershipEvent, { type: 'failed' }>): Step {
  const member = state.members.get(workerId);
  if (!member) return { state, effects: [] };
  const message = `${nameOf(state, member)} failed: ${error.message}`;
  const details = { ...error.details, workerId, step: member.step };
  return fail(state, new LockstepError(error.code, message, { cause: error, details }), []);
}

function onLost(state: MembershipState, { workerId, why }: Extract<MembershipEvent, { type: 'lost' }>): Step {
  const member = state.members.get(workerId);
  if (!member) return { state, effects: [] };
  return fail(state, lostError(state, member, why), []);
}

function onTick(config: MembershipConfig, state: MembershipState, nowMs: number): Step {
  const silent = [...state.members.values()].find((m) => nowMs - m.lastSeenMs > config.heartbeatTimeoutMs);
  if (!silent) return { state, effects: [] };
  const silence = Math.round(nowMs - silent.lastSeenMs);
  const why = `it was silent for ${silence} ms, longer than the limit of ${config.heartbeatTimeoutMs} ms`;
  return fail(state, lostError(state, silent, why), []);
}

function lostError(state: MembershipState, member: Member, why: string): LockstepError {
  const { workerId, host, pid, step: committed } = member;
  const message = `${nameOf(state, member)} is lost after step ${committed}: ${why}.`;
  return new LockstepError('ERR_WORKER_LOST', message, { details: { workerId, host, pid, step: committed, why } });
}

function nameOf(state: MembershipState, { workerId, host, pid }: Member): string {
  const rank = state.roster.find((entry) => entry.workerId === workerId)?.rank;
  return `Worker ${workerId} (${rank === undefined ? '' : `rank ${rank}, `}pid ${pid} on ${host})`;
}

function fail(state: MembershipState, error: LockstepError, effects: readonly MembershipEffect[]): Step {
  return { state: { ...state, phase: 'failed' }, effects: [...effects, { type: 'fail', error }] };
}

function update(state: MembershipState, workerId: string, changes: Partial<Member>): MembershipState {
  const member = state.members.get(workerId);
  if (!member) throw new LockstepError('ERR_PROTOCOL', `Worker ${workerId} spoke before it said hello.`);
  return { ...state, members: new Map([...state.members, [workerId, { ...member, ...changes }]]) };
}

function setAll(state: MembershipState, workerState: WorkerState): MembershipState {
  const entries = [...state.members].map(([id, member]) => [id, { ...member, state: workerState }] as const);
  return { ...state, members: new Map(entries) };
}

function waitingFor(config: MembershipConfig, state: MembershipState): string | null {
  const members = [...state.members.values()];
  const named = (wanted: WorkerState): string =>
    members.flatMap((member) => (member.state === wanted ? [member.workerId] : [])).join(', ');
  switch (state.phase) {
    case 'gathering': {
      const ready = members.filter((member) => member.state === 'ready').length;
      const loading = named('loading');
      const detail = loading ? `; ${loading} is still loading` : '';
      return `No generation yet: ${ready} of ${config.numWorkers} workers are ready${detail}`;
    }
    case 'connecting':
      return `Generation ${state.generation} has not started: ${named('ready')} is not connected to all peers`;
    case 'draining':
      return `The run stops: waiting for ${named('training') || 'the last step'}`;
    default:
      return null;
  }
}
