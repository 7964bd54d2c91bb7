/** `lockstep flight`: what happened in a run, in order, across its workers. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { LockstepError } from '../../src/errors.js';
import { coordinatorEventSchema, workerFlightSchema } from '../../src/flight/records.js';
import type { CoordinatorEvent, WorkerFlight } from '../../src/flight/records.js';
import { timelineOf, type Timeline, type TimelineEvent } from '../../src/flight/timeline.js';

interface FlightOptions {
  readonly runDir: string;
  readonly frames: boolean;
  readonly json: boolean;
}

export function flightCommand(): Command {
  return new Command('flight')
    .description('print what happened in a run, in order, across its workers')
    .requiredOption('--run-dir <dir>', 'the run directory')
    .option('--frames', 'each frame too', false)
    .option('--json', 'one JSON object on stdout', false)
    .action(({ runDir, frames, json }: FlightOptions) => {
      const { workers, coordinator } = readFlight(runDir);
      const timeline = timelineOf(workers, coordinator);
      process.stdout.write(json ? `${JSON.stringify(timeline)}\n` : `${describe(timeline, frames).join('\n')}\n`);
    });
}

interface Flight {
  readonly workers: readonly WorkerFlight[];
  readonly coordinator: readonly CoordinatorEvent[];
}

function readFlight(runDir: string): Flight {
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
    names.filter((name) => name.endsWith(ending)).map((name) => readFileSync(join(folder, name), 'utf8'));
  return {
    workers: textsOf('.json').map((text) => workerFlightSchema.parse(JSON.parse(text))),
    coordinator: textsOf('.jsonl')
      .flatMap(readLines)
      .toSorted((a, b) => a.atMs - b.atMs),
  };
}

/** A line whose writer died in the midst of it is left out. */
function readLines(text: string): CoordinatorEvent[] {
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  return whole
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => coordinatorEventSchema.parse(JSON.parse(line)));
}

function describe({ runId, zeroGeneration, clocks, events, frames }: Timeline, withFrames: boolean): string[] {
  const zero = zeroGeneration === null ? 'the first event' : `the start of generation ${zeroGeneration}`;
  const shown = withFrames ? [...events, ...frames].toSorted((a, b) => a.ms - b.ms) : events;
  const width = Math.max(0, ...shown.map(({ who }) => who.length));
  return [
    `run ${runId ?? 'unknown'}: milliseconds since ${zero}, who, generation, what`,
    ...clocks.flatMap(({ host, shiftMs }) => {
      if (shiftMs === 0) return [];
      if (shiftMs === null) return [`the clock of ${host} is unknown: its times are taken as they are`];
      return [`the clock of ${host} is ${(-shiftMs).toFixed(1)} ms ahead, as exactly as a message takes to get there`];
    }),
    ...shown.map((event) => line(event, width)),
  ];
}

function line({ ms, who, kind, generation, text }: TimelineEvent, width: number): string {
  const at = ms.toFixed(3).padStart(14);
  return `${at}  ${who.padEnd(width)}  ${String(generation ?? '-').padStart(3)}  ${kind.padEnd(11)} ${text}`;
}
