/**
 * Who is in the run, as a state machine with no socket, timer or file in it: workers say hello, get ready, form a
 * generation, train, and finish together. Whoever dies, hangs, leaves or joins meanwhile makes the next generation (moves.ts).
 * Time comes in with each event. A decision that is not taken yet carries its reason.
 *
 * gathering → connecting → training → finished; with a change from each to halting → connecting; and from each to failed.
 * A coordinator that has taken a run back begins with returning → training, or → halting (returning.ts)
 */
import { LockstepError } from '../src/errors.js';
import { listed } from '../src/listed.js';
import { compareFacts } from '../src/protocol/facts.js';
import { andThen, fail, isInRoster, nameOf, newMember, still, updateMember, withoutMember } from './members.js';
import type {
  Change,
  MembershipConfig,
  MembershipEvent,
  MembershipState,
  MembershipStep,
  MembershipTransition,
} from './membership-state.js';
import { noLongerCutOff, noticeCutOff } from './cut-off.js';
import { beginMoves, formWhenPossible, isWanted, letGo, lose, onHalted, startWhenConnected } from './moves.js';
import { onScale } from './scaling.js';
import { onDraining, onFinished, onStop } from './stopping.js';
import { endStandstill, endWaiting, evictDiverged, evictOverdue, evictStraggler, forgiveAbsence } from './patience.js';
import {
  beginReturn,
  endReturn,
  foreignError,
  isBack,
  isOvertaken,
  loseAwaited,
  onHelloAgain,
  onReadyAgain,
  yieldTo,
} from './returning.js';
import { waitingFor } from './waiting-for.js';

export function beginMembership(config: MembershipConfig, nowMs: number): MembershipState {
  const { runId, term, past, facts, checkpoint, numWorkers } = config;
  const begun: MembershipState = {
    runId,
    term,
    phase: 'gathering',
    returning: null,
    members: new Map(),
    numWanted: past?.numWanted ?? numWorkers,
    generation: 0,
    roster: [],
    hasStarted: false,
    facts,
    checkpoint,
    isSeeking: false,
    changes: [],
    movedSlots: 0,
    isAtEnd: false,
    isStopping: false,
    ending: null,
    stopAfter: null,
    noMoreWorkers: null,
    nowMs,
    shortSinceMs: nowMs,
    lastLoss: null,
  };
  return past ? beginReturn(begun, past) : begun;
}

export function membership(
  config: MembershipConfig,
  before: MembershipState,
  event: MembershipEvent,
  nowMs: number,
): MembershipTransition {
  const now = forgiveAbsence(config, before, nowMs);
  const taken = take(config, noLongerCutOff(now, event), event);
  const returned = andThen(taken, (next) => endReturn(config, next));
  const { state, effects } = andThen(returned, (next) => endWaiting(config, next));
  return { state, effects, reason: waitingFor(config, state) };
}

function take(config: MembershipConfig, state: MembershipState, event: MembershipEvent): MembershipStep {
  if (state.phase === 'finished' || state.phase === 'failed') return onEventAfterEnd(state, event);
  switch (event.type) {
    case 'hello':
      return onAnyHello(config, state, event);
    case 'ready':
      return onReady(config, state, event);
    case 'halted':
      return onHalted(config, state, event);
    case 'connected':
      return onConnected(config, state, event);
    case 'heartbeat':
      return { state: onHeartbeat(state, event), effects: [] };
    case 'draining':
      return onDraining(state, event);
    case 'leaving':
      return onLeaving(config, state, event);
    case 'finished':
      return onFinished(state, event);
    case 'failed':
      return onFailed(config, state, event);
    case 'lost': {
      const member = state.members.get(event.workerId);
      if (!member) return still(loseAwaited(state, event.workerId, event.why));
      return lose(config, state, member, { kind: 'lost', why: event.why, detectedMs: 0 });
    }
    case 'diverged':
      return evictDiverged(config, state, event);
    case 'straggling':
      return evictStraggler(config, state, event);
    case 'checkpointed':
      return onCheckpointed(config, { ...state, checkpoint: { step: event.step, path: event.path } });
    case 'checkpoint-found': {
      const found = { ...state, isSeeking: false, checkpoint: event.checkpoint };
      return formWhenPossible(config, found, { isCheckpointSought: true });
    }
    case 'no-more-workers':
      return still({ ...state, noMoreWorkers: event.why });
    case 'abandon':
      return fail(state, event.error);
    case 'scale':
      return onScale(config, state, event.numWorkers);
    case 'stop':
      return onStop(config, state);
    case 'tick':
      return andThen(
        andThen(evictOverdue(config, state), (next) => noticeCutOff(config, next)),
        (next) => endStandstill(config, next),
      );
  }
}

function onEventAfterEnd(state: MembershipState, event: MembershipEvent): MembershipStep {
  if (event.type !== 'hello') return still(state);
  const error = new LockstepError('ERR_PROTOCOL', `The run is over (${state.phase}); no worker can join it.`);
  return { state, effects: [{ type: 'refuse', workerId: event.workerId, error }] };
}

function onAnyHello(
  config: MembershipConfig,
  state: MembershipState,
  event: Extract<MembershipEvent, { type: 'hello' }>,
): MembershipStep {
  const { standing, workerId } = event;
  if (standing && isOvertaken(config, state, standing)) return yieldTo(state, standing);
  if (standing && isBack(state, workerId, standing)) return onHelloAgain(config, state, { ...event, standing });
  return onHello(state, event);
}

function onHello(
  state: MembershipState,
  { workerId, host, pid, isRemote, standing }: Extract<MembershipEvent, { type: 'hello' }>,
): MembershipStep {
  const isForeign = standing !== null && standing.runId !== state.runId;
  const refusal = isForeign ? foreignError(state, workerId, standing) : refuseNewcomer(state, workerId);
  if (refusal) return { state, effects: [{ type: 'refuse', workerId, error: refusal }] };
  const members = new Map([...state.members, [workerId, newMember({ workerId, host, pid, isRemote }, state.nowMs)]]);
  return { state: { ...state, members, noMoreWorkers: null }, effects: [{ type: 'welcome', workerId }] };
}

function refuseNewcomer(state: MembershipState, workerId: string): LockstepError | null {
  const { members, returning, numWanted } = state;
  const known = new Set([...members.keys(), ...(returning?.awaited ?? [])]);
  // One that is lost has its place in the last generation until the next one is formed.
  if (known.has(workerId) || isInRoster(state, workerId)) {
    return new LockstepError(
      'ERR_PROTOCOL',
      `There is a worker ${workerId} already; each start needs an id of its own.`,
    );
  }
  if (known.size < numWanted) return null;
  return new LockstepError(
    'ERR_PROTOCOL',
    `The run has its ${numWanted} workers; one more cannot join. Say that it may have more: lockstep scale N.`,
  );
}

function onReady(
  config: MembershipConfig,
  before: MembershipState,
  event: Extract<MembershipEvent, { type: 'ready' }>,
): MembershipStep {
  const { workerId, device, addresses } = event;
  const member = before.members.get(workerId);
  if (!member) {
    throw new LockstepError('ERR_PROTOCOL', `Worker ${workerId} was not expected to get ready.`);
  }
  // On another connection it says again what it is: to a coordinator that is back, or to the same one.
  const isAgain = member.state !== 'loading';
  const differences = compareFacts(before.facts, event.facts);
  if (differences.length > 0) {
    const what = listed(differences, 5);
    const message = `Worker ${workerId} does not fit the run: ${what}. Give all workers the same job, data and Lockstep.`;
    const error = new LockstepError('ERR_WORKER_MISMATCH', message, { details: { workerId, differences } });
    const refused: MembershipStep = { state: before, effects: [{ type: 'refuse', workerId, error }] };
    if (!isAgain) return { ...refused, state: withoutMember(before, workerId) };
    return andThen(refused, (next) => lose(config, next, member, { kind: 'lost', why: what, detectedMs: 0 }));
  }
  if (isAgain) return still(onReadyAgain(before, event));
  const { nowMs: atMs } = before;
  const join: Change = { kind: 'joined', workerId, pid: member.pid, why: 'it is ready', detectedMs: 0, atMs };
  const changes = before.hasStarted ? [...before.changes, join] : before.changes;
  const known = { device, addresses, lastSeenMs: atMs, sinceMs: atMs, state: 'ready' } as const;
  const state = updateMember({ ...before, changes, facts: { ...event.facts, ...before.facts } }, workerId, known);
  if (state.phase === 'training') return isWanted(config, state) ? beginMoves(config, state) : still(state);
  return formWhenPossible(config, state);
}

function onConnected(
  config: MembershipConfig,
  before: MembershipState,
  { workerId, generation, prefersMemory }: Extract<MembershipEvent, { type: 'connected' }>,
): MembershipStep {
  const { nowMs } = before;
  const seen = updateMember(before, workerId, { lastSeenMs: nowMs });
  const isAwaited = before.phase === 'connecting' && generation === before.generation && isInRoster(before, workerId);
  if (!isAwaited) return still(seen);
  return startWhenConnected(
    config,
    updateMember(seen, workerId, { state: 'connected', prefersMemory, sinceMs: nowMs }),
  );
}

/** Whether a checkpoint of this step is to be told to `membership`: who was rank 0 before may have been writing an older one until now. */
export function isNewest({ checkpoint }: MembershipState, step: number): boolean {
  return step >= (checkpoint?.step ?? 0);
}

function onCheckpointed(config: MembershipConfig, state: MembershipState): MembershipStep {
  const isAwaited = config.isSharded && state.phase === 'training' && isWanted(config, state, { isSaved: true });
  return isAwaited ? beginMoves(config, state) : still(state);
}

function onHeartbeat(
  state: MembershipState,
  { workerId, step: committed, waiting, stage }: Extract<MembershipEvent, { type: 'heartbeat' }>,
): MembershipState {
  const { nowMs } = state;
  const member = state.members.get(workerId);
  const isSame = member?.waiting === waiting && member.stage === stage && committed <= member.step;
  const waitingSinceMs = isSame ? member.waitingSinceMs : nowMs;
  const seen = { waiting, waitingSinceMs, lastSeenMs: nowMs };
  if (!member || !isInRoster(state, workerId)) return updateMember(state, workerId, seen);
  // What is on its way to the next generation shows by its words that it gets on.
  const isNew = member.stage !== stage || (member.state === 'connecting' && member.waiting !== waiting);
  const sinceMs = isNew || committed > member.step ? nowMs : member.sinceMs;
  const known = { ...seen, stage, sinceMs };
  // A worker that holds has told of the step that it has begun, which is one more than it has committed.
  if (member.state !== 'training' || committed <= member.step) return updateMember(state, workerId, known);
  const stepMs = (nowMs - (member.steppedMs ?? nowMs)) / (committed - member.step);
  const slowestMs = Math.max(stepMs, recentness * member.slowestMs);
  return updateMember(state, workerId, { ...known, step: committed, steppedMs: nowMs, slowestMs });
}

/** What is left of a slow step's weight with each later one. */
const recentness = 0.95;

/** By wish, as on a host that is taken away. */
function onLeaving(
  config: MembershipConfig,
  state: MembershipState,
  { workerId }: Extract<MembershipEvent, { type: 'leaving' }>,
): MembershipStep {
  const member = state.members.get(workerId);
  return member ? letGo(config, state, member, { kind: 'left', why: 'by wish', detectedMs: 0 }) : still(state);
}

/** Not the job's fault, but of the way to another worker: without the one that says so the run goes on. */
const codesOfLinks: readonly string[] = ['ERR_WORKER_LOST', 'ERR_FRAME_CORRUPT'];

/** Before the first generation has started these tell of an address that is wrong; later of a way that was there. */
const codesOfWays: readonly string[] = ['ERR_CONNECT', 'ERR_TIMEOUT'];

/**
 * The worker's own account of why it cannot go on. An error of the job would come back with any worker, and ends the run. One
 * that comes beside a run that goes on is not missed.
 */
function onFailed(
  config: MembershipConfig,
  state: MembershipState,
  { workerId, error }: Extract<MembershipEvent, { type: 'failed' }>,
): MembershipStep {
  const member = state.members.get(workerId);
  if (!member) return still(state);
  const isSpare = state.hasStarted && !isInRoster(state, workerId);
  const isOfWay = codesOfLinks.includes(error.code) || (state.hasStarted && codesOfWays.includes(error.code));
  if (isSpare || isOfWay) {
    const loss = { kind: 'lost', why: `it failed: ${error.message}`, detectedMs: 0 } as const;
    return letGo(config, state, member, loss);
  }
  const message = `${nameOf(state, member)} failed: ${error.message}`;
  const details = { ...error.details, workerId, step: member.step };
  return fail(state, new LockstepError(error.code, message, { cause: error, details }));
}
