/**
 * What happened in a run, in order, from the files of its flight recorders. Workers of the coordinator's host have its clock. Of
 * another host's clock the difference is told by the starts of generations: the coordinator tells all at once, so that the one
 * which arrived soonest says it, as exactly as a message takes to get there.
 */
import { readFrameRecords, type FrameRecord } from './frame-record.js';
import type { CoordinatorEvent, FlightEvent, WorkerFlight } from './records.js';

/** Who did it: a worker's id, or the coordinator. */
const coordinatorName = 'coordinator';

export interface TimelineEvent {
  /** By the coordinator's clock, relative to the timeline's zero. */
  readonly ms: number;
  readonly who: string;
  readonly kind: string;
  readonly generation: number | null;
  readonly text: string;
}

interface Clock {
  readonly host: string;
  /** What is added to its times; null: no start of a generation is known both there and at the coordinator. */
  readonly shiftMs: number | null;
}

export interface Timeline {
  readonly runId: string | null;
  /** The generation whose start is zero; null: the first event is. */
  readonly zeroGeneration: number | null;
  readonly clocks: readonly Clock[];
  readonly events: readonly TimelineEvent[];
  readonly frames: readonly TimelineEvent[];
}

export function timelineOf(flights: readonly WorkerFlight[], coordinator: readonly CoordinatorEvent[]): Timeline {
  const workers = [...groupBy(flights, ({ workerId }) => workerId).values()].map(joinFlights);
  const home = coordinator[0]?.host ?? workers[0]?.host;
  const starts = new Map(
    coordinator.flatMap(({ kind, generation, atMs }) => (kind === 'start' ? [[generation, atMs] as const] : [])),
  );
  const clocks = [...groupBy(workers, ({ host }) => host)].map(([host, ofHost]): Clock => {
    return { host, shiftMs: host === home ? 0 : shiftOf(ofHost, starts) };
  });
  const shifts = new Map(clocks.map(({ host, shiftMs }) => [host, shiftMs ?? 0]));
  const events = [
    ...coordinator.map((event) => eventOf(coordinatorName, event)),
    ...workers.flatMap((worker) => {
      const shift = shifts.get(worker.host) ?? 0;
      const told = worker.events.map((event) => eventOf(worker.workerId, event));
      return [...told, ...stepEvents(worker), ...frameSummaries(worker)].map((event) => moved(event, shift));
    }),
  ].toSorted((a, b) => a.ms - b.ms);
  const [zeroGeneration, zeroMs] = [...starts].at(-1) ?? [null, events[0]?.ms ?? 0];
  const frames = workers.flatMap((worker) =>
    worker.frames.map((frame) => moved(frameEvent(worker.workerId, frame), shifts.get(worker.host) ?? 0)),
  );
  return {
    runId: coordinator[0]?.runId ?? workers[0]?.runId ?? null,
    zeroGeneration,
    clocks,
    events: events.map((event) => moved(event, -zeroMs)),
    frames: frames.toSorted((a, b) => a.ms - b.ms).map((event) => moved(event, -zeroMs)),
  };
}

interface JoinedFlight {
  readonly runId: string;
  readonly workerId: string;
  readonly host: string;
  readonly events: readonly FlightEvent[];
  readonly steps: readonly number[][];
  readonly frames: readonly FrameRecord[];
}

/** Files of one worker overlap: what is in several is taken from the last. */
function joinFlights(flights: readonly WorkerFlight[]): JoinedFlight {
  const ordered = flights.toSorted((a, b) => a.writtenMs - b.writtenMs);
  const { runId = '', workerId = '', host = '' } = ordered[0] ?? {};
  const events = new Map(ordered.flatMap((flight) => flight.events).map((event) => [event.number, event]));
  const steps = new Map(ordered.flatMap((flight) => flight.steps).map((row) => [row[2], row]));
  const records = ordered.flatMap(({ frames }) => readFrameRecords(bytesOf(frames)));
  const frames = new Map(records.map((frame) => [`${frame.direction} ${frame.peer} ${frame.atMs}`, frame]));
  return {
    runId,
    workerId,
    host,
    events: [...events.values()],
    steps: [...steps.values()],
    frames: [...frames.values()],
  };
}

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** The soonest of them. */
function shiftOf(workers: readonly JoinedFlight[], starts: ReadonlyMap<number | null, number>): number | null {
  const shifts = workers.flatMap(({ events }) =>
    events.flatMap(({ kind, generation, atMs }) => {
      const toldMs = kind === 'start' ? starts.get(generation) : undefined;
      return toldMs === undefined ? [] : toldMs - atMs;
    }),
  );
  return shifts.length === 0 ? null : Math.max(...shifts);
}

function eventOf(who: string, { atMs: ms, kind, generation, text }: FlightEvent): TimelineEvent {
  return { ms, who, kind, generation, text };
}

function moved(event: TimelineEvent, byMs: number): TimelineEvent {
  return { ...event, ms: event.ms + byMs };
}

/** One for each generation's steps, at the end of the last. */
function stepEvents({ workerId, steps }: JoinedFlight): TimelineEvent[] {
  return [...groupBy(steps, ([, generation = 0]) => generation)].map(([generation, rows]) => {
    const mean = (column: number): string =>
      (rows.reduce((sum, row) => sum + (row[column] ?? 0), 0) / rows.length).toFixed(3);
    const last = rows.at(-1) ?? [];
    const ms = last.slice(2, 8).reduce((sum, value) => sum + value, 0);
    const times = `data ${mean(3)}, compute ${mean(4)}, network ${mean(5)}, optimizer ${mean(6)}, waiting ${mean(7)} ms each`;
    const awaited = `${mean(8)} of network awaiting ${awaitedWords(rows)}`;
    const text = `${(rows[0]?.[0] ?? 0) + 1} to ${(last[0] ?? 0) + 1} committed: ${times}; ${awaited}`;
    return { ms, who: workerId, kind: 'steps', generation, text };
  });
}

/** Who was waited for longest in how many of these steps. */
function awaitedWords(rows: readonly number[][]): string {
  const byRank = [...groupBy(rows, (row) => row[9] ?? -1)].filter(([rank]) => rank >= 0);
  const [most] = byRank.toSorted(([, a], [, b]) => b.length - a.length);
  return most ? `others, rank ${most[0]} in ${most[1].length} of ${rows.length}` : 'nobody';
}

/** One for each generation's frames, at the time of the last. */
function frameSummaries({ workerId, frames }: JoinedFlight): TimelineEvent[] {
  return [...groupBy(frames, ({ header }) => header?.generation ?? null)].flatMap(([generation, ofGeneration]) => {
    const last = ofGeneration.at(-1);
    if (!last) return [];
    const count = (direction: FrameRecord['direction']): string => {
      const some = ofGeneration.filter((frame) => frame.direction === direction);
      const numOpen = some.filter(({ doneMs }) => doneMs === null).length;
      return `${some.length} ${direction}${numOpen > 0 ? ` (${numOpen} not whole)` : ''}`;
    };
    const text = `${count('sent')}, ${count('received')}; the last: ${frameWords(last)}`;
    return [{ ms: last.atMs, who: workerId, kind: 'frames', generation, text }];
  });
}

function frameEvent(who: string, frame: FrameRecord): TimelineEvent {
  const { direction: kind, atMs: ms, header } = frame;
  return { ms, who, kind, generation: header?.generation ?? null, text: frameWords(frame) };
}

function frameWords({ direction, peer, atMs, doneMs, header }: FrameRecord): string {
  const way = direction === 'sent' ? 'to' : 'from';
  if (!header) return `damaged, ${way} rank ${peer}`;
  const { kind, step, bucket, chunk, node, payloadBytes } = header;
  const done = doneMs === null ? 'not whole' : `in ${(doneMs - atMs).toFixed(2)} ms`;
  return `${kind} of step ${step}, bucket ${bucket}, chunk ${chunk}, node ${node}, ${payloadBytes} bytes, ${way} rank ${peer}, ${done}`;
}

function groupBy<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
