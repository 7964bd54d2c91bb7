/** `lockstep flight`: what happened in a run, in order, across its workers. */
import { Command } from 'commander';
import { timelineOf, type Timeline, type TimelineEvent } from '../../src/flight/timeline.js';
import { readFlight } from '../flight-files.js';

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
