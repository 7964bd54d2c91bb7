/**
 * What a worker has to tell the coordinator, however often that one dies meanwhile. A message is kept until the coordinator says that
 * it has it for good; what is left is told again on the next connection, in the same order, and the coordinator takes each
 * once. Pure: no socket and no clock.
 */
import type { FromCoordinator, FromWorker } from '../protocol/messages.js';

/** Most messages that wait; of more the oldest are given up, which costs lines of metrics.jsonl and nothing else. */
export const maxKeptMessages = 20_000;

/** A validation is whole when all workers have told of it: until the one after the next, its part may be asked for again. */
const keptEvaluations = 2;

const keptTypes: readonly FromWorker['type'][] = [
  'progress',
  'evaluated',
  'state-hash',
  'checkpointed',
  'leaving',
  'finished',
  'injected',
];

/** Whether a message has to arrive, and is counted by `heard`. */
export function isKept({ type }: FromWorker): boolean {
  return keptTypes.includes(type);
}

interface Kept {
  readonly message: FromWorker;
  readonly onHeard: () => void;
  isHeard: boolean;
}

export class Outbox {
  #kept: Kept[] = [];
  /** What was sent on this connection and is to be counted, in order. */
  #sent: Kept[] = [];
  #numHeard = 0;
  /** Questions without an answer yet. */
  readonly #asked = new Map<string, FromWorker>();
  #numGivenUp = 0;

  /**
   * A message goes out, or would if there were a connection.
   *
   * @param onHeard called when the coordinator has it for good
   */
  add(message: FromWorker, isConnected: boolean, onHeard: () => void = () => undefined): void {
    if (isQuestion(message)) this.#asked.set(nameOf(message), message);
    // A worker that halts says again what it has finished.
    if (message.type === 'halted') this.#drop(({ message: { type } }) => type === 'finished');
    if (!isKept(message)) return;
    const kept = { message, onHeard, isHeard: false };
    this.#kept.push(kept);
    if (isConnected) this.#sent.push(kept);
    if (this.#kept.length > maxKeptMessages) {
      this.#kept.shift();
      this.#numGivenUp++;
    }
  }

  /** Messages that were given up, as too many waited. */
  get numGivenUp(): number {
    return this.#numGivenUp;
  }

  /** The coordinator has so many of those sent on this connection. */
  heard(count: number): void {
    const heard = this.#sent.splice(0, count - this.#numHeard);
    for (const kept of heard) kept.isHeard = true;
    this.#numHeard = count;
    const evaluations = this.#kept.filter(({ message }) => message.type === 'evaluated').slice(-keptEvaluations);
    // That a worker has finished, or leaves, is so until it is answered.
    this.#drop((kept) => kept.isHeard && !isLasting(kept.message) && !evaluations.includes(kept));
    for (const { onHeard } of heard) onHeard();
  }

  /** An answer came. */
  answered(answer: Extract<FromCoordinator, { type: 'rows' | 'file' }>): void {
    this.#asked.delete(nameOf(answer));
  }

  /** A connection begins: what is to be told on it first. */
  reconnect(): FromWorker[] {
    for (const kept of this.#kept) kept.isHeard = false;
    this.#sent = [...this.#kept];
    this.#numHeard = 0;
    return [...this.#kept.map(({ message }) => message), ...this.#asked.values()];
  }

  #drop(isOver: (kept: Kept) => boolean): void {
    this.#kept = this.#kept.filter((kept) => !isOver(kept));
  }
}

function isLasting({ type }: FromWorker): boolean {
  return type === 'finished' || type === 'leaving';
}

type Question = Extract<FromWorker, { readonly request: number }>;

function isQuestion(message: FromWorker): message is Question {
  return 'request' in message;
}

/** Rows and files are numbered each for itself. */
function nameOf({ type, request }: Pick<Question, 'request'> & { readonly type: string }): string {
  return `${type === 'read-rows' || type === 'rows' ? 'rows' : 'file'} ${request}`;
}
