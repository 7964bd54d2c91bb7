/** What the flight recorders of a run have written to its directory. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LockstepError } from '../src/errors.js';
import { coordinatorEventSchema, workerFlightSchema } from '../src/flight/records.js';
import type { CoordinatorEvent, WorkerFlight } from '../src/flight/records.js';

export interface Flight {
  readonly workers: readonly WorkerFlight[];
  readonly coordinator: readonly CoordinatorEvent[];
}

/** @throws LockstepError ERR_RUN_DIR where there is nothing */
export function readFlight(runDir: string): Flight {
  const folder = join(runDir, 'flight');
  let names: string[];
  try {
    names = readdirSync(folder).toSorted();
  } catch (cause) {
    throw new LockstepError('ERR_RUN_DIR', `${folder} cannot be read: no flight recorder has written there.`, {
      cause,
    });
  }
  const textsOf = (ending: string): string[] =>
    names.filter((name) => name.endsWith(ending)).flatMap((name) => textOf(join(folder, name)) ?? []);
  return {
    workers: textsOf('.json').map((text) => workerFlightSchema.parse(JSON.parse(text))),
    coordinator: textsOf('.jsonl')
      .flatMap(readLines)
      .toSorted((a, b) => a.atMs - b.atMs),
  };
}

/** Null: it is deleted by now, of an old generation of a run that goes on. */
function textOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

/** A line whose writer died in the midst of it is left out. */
function readLines(text: string): CoordinatorEvent[] {
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  return whole
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => coordinatorEventSchema.parse(JSON.parse(line)));
}
