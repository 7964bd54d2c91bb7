/** Options that several commands share, and how their text is read. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { LockstepError } from '../src/errors.js';
import { defaultLimits, type Limits } from '../src/protocol/limits.js';

export function positiveInteger(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('Expected a whole number above 0.');
}

export function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}

const limitTexts: Readonly<Record<keyof Limits, string>> = {
  maxControlBytes: 'largest control message, in bytes',
  maxConnections: 'connections at once',
  authenticationTimeoutMs: 'time for a connection to prove the token',
  connectTimeoutMs: 'time to reach another process',
  heartbeatMs: 'between two signs of life of a worker',
  heartbeatTimeoutMs: 'silence after which a worker counts as lost',
  loadingTimeoutMs: 'the same of a worker that still loads',
  readyTimeoutMs: 'how long a worker may load before it is ready',
  stepTimeoutMs: 'least time for the gradients of a step, before their worker counts as hung',
  betweenStepsTimeoutMs: 'the same for what lies between two steps, such as a validation',
  workersTimeoutMs: 'how long a run with too few workers waits for more',
  returnTimeoutMs: 'how long a coordinator that is back waits for its workers to say that they are there',
  coordinatorTimeoutMs: 'how long a worker goes on without a coordinator',
};

/** The coordinator's alone. */
export const coordinatorLimits = [
  'heartbeatMs',
  'loadingTimeoutMs',
  'readyTimeoutMs',
  'stepTimeoutMs',
  'betweenStepsTimeoutMs',
  'workersTimeoutMs',
  'returnTimeoutMs',
] as const;
export type WorkerLimits = Omit<Limits, (typeof coordinatorLimits)[number]>;

/** One option for each limit, with its default; `without` those that somebody else decides. */
export function addLimits(command: Command, without: readonly (keyof Limits)[] = []): Command {
  const left = Object.entries(limitTexts).filter(([name]) => !without.includes(name as keyof Limits)); // keys of limitTexts
  for (const [name, text] of left) {
    const option = new Option(`${flagOf(name)} <n>`, text).argParser(positiveInteger);
    command.addOption(option.default(defaultLimits[name as keyof Limits]).helpGroup('Limits:')); // keys of limitTexts
  }
  return command;
}

function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** The limits as options of the worker command. */
export function limitFlags(limits: Limits): string[] {
  const decidedElsewhere: readonly string[] = coordinatorLimits;
  const own = Object.entries(limits).filter(([name]) => !decidedElsewhere.includes(name));
  return own.flatMap(([name, value]) => [flagOf(name), String(value)]);
}

/** The limits among a command's options, checked against one another. */
export function limitsOf(options: Partial<Limits>): Limits {
  const value = (name: keyof Limits): number => options[name] ?? defaultLimits[name];
  const limits: Limits = {
    maxControlBytes: value('maxControlBytes'),
    maxConnections: value('maxConnections'),
    authenticationTimeoutMs: value('authenticationTimeoutMs'),
    connectTimeoutMs: value('connectTimeoutMs'),
    heartbeatMs: value('heartbeatMs'),
    heartbeatTimeoutMs: value('heartbeatTimeoutMs'),
    loadingTimeoutMs: value('loadingTimeoutMs'),
    readyTimeoutMs: value('readyTimeoutMs'),
    stepTimeoutMs: value('stepTimeoutMs'),
    betweenStepsTimeoutMs: value('betweenStepsTimeoutMs'),
    workersTimeoutMs: value('workersTimeoutMs'),
    returnTimeoutMs: value('returnTimeoutMs'),
    coordinatorTimeoutMs: value('coordinatorTimeoutMs'),
  };
  const { heartbeatMs, heartbeatTimeoutMs } = limits;
  if (heartbeatMs * 2 <= heartbeatTimeoutMs) return limits;
  const message = `--heartbeat-timeout-ms (${heartbeatTimeoutMs}) must be at least twice --heartbeat-ms (${heartbeatMs}).`;
  throw new LockstepError('ERR_USAGE', message);
}
