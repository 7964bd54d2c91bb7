/**
 * What a coordinator did, for `lockstep flight`: a line for each event, in a file for each generation. Nothing of it ends a run.
 */
import { appendFileSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { coordinatorFlightFile, overdueFlightFiles } from '../src/flight/records.js';
import type { CoordinatorEvent } from '../src/flight/records.js';
import type { Log } from '../src/log.js';
import type { MembershipEffect, MembershipEvent } from './membership-state.js';
import { idsOf } from './members.js';

interface Words {
  readonly kind: string;
  readonly text: string;
}

export class FlightLog {
  readonly #folder: string;
  readonly #log: Log;
  #numEvents = 0;
  #generation = -1;
  #isUnwritable = false;

  private constructor(folder: string, log: Log) {
    this.#folder = folder;
    this.#log = log;
  }

  /** @param isTakenBack this run goes on with what was written; of another start of it the files are put aside */
  static open(runDir: string, { isTakenBack, log }: { readonly isTakenBack: boolean; readonly log: Log }): FlightLog {
    const folder = join(runDir, 'flight');
    const flight = new FlightLog(folder, log);
    flight.#guard(() => {
      if (!isTakenBack) putAside(folder);
      mkdirSync(folder, { recursive: true });
    });
    return flight;
  }

  onEvent(event: MembershipEvent, place: { readonly runId: string; readonly generation: number }): void {
    const words = wordsOfEvent(event);
    if (words) this.note(words, place);
  }

  onEffect(effect: MembershipEffect, place: { readonly runId: string; readonly generation: number }): void {
    const words = wordsOfEffect(effect);
    if (words) this.note(words, place);
  }

  note({ kind, text }: Words, { runId, generation }: { readonly runId: string; readonly generation: number }): void {
    if (this.#isUnwritable) return;
    const atMs = performance.timeOrigin + performance.now();
    const by = { runId, host: hostname(), pid: process.pid };
    const line = { number: this.#numEvents++, atMs, kind, generation, text, ...by } satisfies CoordinatorEvent;
    this.#guard(() => {
      if (generation !== this.#generation) this.#prune(generation);
      this.#generation = generation;
      appendFileSync(join(this.#folder, coordinatorFlightFile(generation)), `${JSON.stringify(line)}\n`);
    });
  }

  #prune(generation: number): void {
    for (const name of overdueFlightFiles(readdirSync(this.#folder), generation)) {
      rmSync(join(this.#folder, name), { force: true });
    }
  }

  #guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#isUnwritable = true;
      this.#log.warn(`the flight recorder cannot write: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

function putAside(folder: string): void {
  rmSync(`${folder}.old`, { recursive: true, force: true });
  try {
    renameSync(folder, `${folder}.old`);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
}

/** Null: it is of no interest, or an effect tells of it. */
function wordsOfEvent(event: MembershipEvent): Words | null {
  switch (event.type) {
    case 'hello':
      return { kind: 'hello', text: `${event.workerId} (pid ${event.pid} on ${event.host})` };
    case 'ready':
    case 'connected':
      return { kind: event.type, text: event.workerId };
    case 'halted': {
      const held = event.step === null ? 'no state' : `the state of step ${event.step}`;
      return { kind: 'halted', text: `${event.workerId}, with ${held}` };
    }
    case 'lost':
      return { kind: 'lost', text: `${event.workerId}: ${event.why}` };
    case 'failed':
      return { kind: 'failed', text: `${event.workerId}: ${event.error.message}` };
    case 'leaving':
    case 'finished':
      return { kind: event.type, text: `${event.workerId}, at step ${event.step}` };
    case 'diverged':
      return { kind: 'diverged', text: `${event.workerIds.join(', ')}: ${event.why}` };
    case 'straggling':
      return { kind: 'slow', text: `${event.workerId}: ${event.why}` };
    case 'stop':
      return { kind: 'stop', text: 'the run is to end after this step' };
    default:
      return null;
  }
}

function wordsOfEffect(effect: MembershipEffect): Words | null {
  switch (effect.type) {
    case 'evict':
    case 'refuse':
      return { kind: effect.type, text: `${effect.workerId}: ${effect.error.message}` };
    case 'halt':
      return { kind: 'halt', text: `nothing older commits any more; asked of ${effect.workerIds.join(', ')}` };
    case 'form-generation': {
      const { step, roster } = effect;
      return { kind: 'generation', text: `from step ${step}, with ${idsOf(roster).join(', ')}` };
    }
    case 'start':
      return { kind: 'start', text: `told to ${effect.workerIds.join(', ')}` };
    case 'adopt':
      return { kind: 'adopt', text: `${effect.workerIds.join(', ')} go on as they did, at step ${effect.step}` };
    case 'yield':
      return { kind: 'yield', text: effect.error.message };
    case 'finish':
      return { kind: 'finish', text: `at step ${effect.step}` };
    case 'fail':
      return { kind: 'fail', text: effect.error.message };
    default:
      return null;
  }
}
