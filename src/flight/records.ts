/**
 * What a flight recorder writes down: files of the run directory's folder `flight`, which `lockstep flight` reads. A worker writes
 * all that it still knows at each halt and each error, so files of one worker overlap; a coordinator adds a line for each event.
 *
 *   flight/w0-3.json             worker w0, whose last generation was 3
 *   flight/coordinator-3.jsonl   what the coordinator did while generation 3 was the newest
 *
 * Times are milliseconds since 1970 by the writer's own clock.
 */
import { z } from 'zod';

/** Older ones are deleted. */
const keptGenerations = 20;

const count = z.int().min(0);

export const flightEventSchema = z.strictObject({
  /** Of its writer, growing by one: files overlap. */
  number: count,
  atMs: z.number(),
  /** One word: "halt", "lost", "start". */
  kind: z.string(),
  generation: count.nullable(),
  text: z.string(),
});
export type FlightEvent = z.output<typeof flightEventSchema>;

/**
 * One step of one worker: when it was begun, and what its time went into, in milliseconds. `awaited` is the part of `network` in
 * which others had not sent what they had to, and `awaitedRank` the one that was waited for longest; -1: nobody was.
 */
export const stepColumns = [
  'step',
  'generation',
  'begunMs',
  'data',
  'compute',
  'network',
  'optimizer',
  'waiting',
  'awaited',
  'awaitedRank',
] as const;

export const workerFlightSchema = z.strictObject({
  version: z.literal(1),
  runId: z.string(),
  workerId: z.string(),
  host: z.string(),
  pid: z.int(),
  /** The last one that it entered. */
  generation: count,
  writtenMs: z.number(),
  events: z.array(flightEventSchema),
  /** By step, in the order of `stepColumns`. */
  steps: z.array(z.array(z.number()).length(stepColumns.length)),
  /** Base64 of frame-record.ts: a worker that writes this is on its way to the next generation. */
  frames: z.string(),
});
export type WorkerFlight = z.output<typeof workerFlightSchema>;

/** A line of the coordinator's file. */
export const coordinatorEventSchema = flightEventSchema.extend({
  runId: z.string(),
  host: z.string(),
  pid: z.int(),
});
export type CoordinatorEvent = z.output<typeof coordinatorEventSchema>;

export function workerFlightFile(workerId: string, generation: number): string {
  return `${encodeURIComponent(workerId)}-${generation}.json`;
}

export function coordinatorFlightFile(generation: number): string {
  return `coordinator-${generation}.jsonl`;
}

/** Those that are deleted when `generation` is the newest. */
export function overdueFlightFiles(names: readonly string[], generation: number): string[] {
  return names.filter((name) => {
    const [, number] = /-(\d+)\.jsonl?$/.exec(name) ?? [];
    return number !== undefined && Number(number) <= generation - keptGenerations;
  });
}
