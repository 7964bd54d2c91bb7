import { describe, expect, it } from 'vitest';
import { FrameRing, readFrameRecords } from '../../src/flight/frame-record.js';
import { overdueFlightFiles, workerFlightFile, type CoordinatorEvent } from '../../src/flight/records.js';
import type { FlightEvent, WorkerFlight } from '../../src/flight/records.js';
import { makeSharedSteps, StepRing } from '../../src/flight/step-ring.js';
import { timelineOf } from '../../src/flight/timeline.js';
import { encodeFrameHeader } from '../../src/protocol/frame.js';
import { paceOf } from '../../worker/flight/pace.js';

const header = (step: number): Uint8Array =>
  encodeFrameHeader({
    ...{ kind: 'partial', inPlace: false, generation: 3, step, bucket: 1, chunk: 2, node: 4 },
    ...{ payloadBytes: 64, checksum: 9 },
  });

describe('the ring of frames', () => {
  it('keeps the last ones, oldest first, with when all of each was there', () => {
    const ring = new FrameRing(3);
    for (let step = 0; step < 5; step++) {
      const number = ring.add(step % 2 === 0 ? 'sent' : 'received', step, header(step), 100 + step);
      if (step !== 3) ring.done(number, 200 + step);
    }
    const found = readFrameRecords(ring.bytes());
    expect(found.map((frame) => frame.header?.step)).toEqual([2, 3, 4]);
    expect(found.map(({ direction, peer, atMs, doneMs }) => [direction, peer, atMs, doneMs])).toEqual([
      ['sent', 2, 102, 202],
      ['received', 3, 103, null],
      ['sent', 4, 104, 204],
    ]);
    expect(found[0]?.header).toMatchObject({ kind: 'partial', generation: 3, bucket: 1, chunk: 2, payloadBytes: 64 });
  });

  it('keeps a frame whose header is damaged', () => {
    const ring = new FrameRing(1);
    ring.add('received', 1, new Uint8Array(40), 1);
    expect(readFrameRecords(ring.bytes())).toEqual([
      { direction: 'received', peer: 1, atMs: 1, doneMs: null, header: null },
    ]);
  });

  it('does not take the end of a forgotten frame for that of the one in its place', () => {
    const ring = new FrameRing(1);
    const forgotten = ring.add('sent', 1, header(0), 1);
    ring.add('sent', 1, header(1), 2);
    ring.done(forgotten, 3);
    expect(readFrameRecords(ring.bytes())[0]).toMatchObject({ atMs: 2, doneMs: null });
  });
});

describe('the ring of steps', () => {
  it('gives the other thread the last 200', () => {
    const shared = makeSharedSteps();
    const [writer, reader] = [new StepRing(shared), new StepRing(shared)];
    for (let step = 0; step < 1000; step++) writer.add([step, 1, step * 10, 1, 2, 3, 4, 5, 6, 7]);
    const rows = reader.last();
    expect(rows.map(([step]) => step)).toEqual(Array.from({ length: 200 }, (_, i) => 800 + i));
    expect(reader.last(1)).toEqual([[999, 1, 9990, 1, 2, 3, 4, 5, 6, 7]]);
  });

  it('tells the pace of a generation without its first five steps', () => {
    const ring = new StepRing(makeSharedSteps());
    const generation = { generation: 2, step: 10 };
    ring.add([9, 1, 0, 500, 500, 500, 500, 0, 0, -1]);
    for (let step = 10; step < 15; step++) ring.add([step, 2, 5000, 500, 500, 500, 500, 0, 0, -1]);
    expect(paceOf(ring, generation, 9000)).toBeNull();
    ring.add([15, 2, 5000, 1, 2, 3, 4, 0, 0, -1]);
    ring.add([16, 2, 5000, 3, 4, 5, 6, 0, 0, -1]);
    expect(paceOf(ring, generation, 9000)).toEqual({ data: 2, compute: 3, network: 4, optimizer: 5 });
  });
});

it('files of the last 20 generations are kept, whosever they are', () => {
  const names = [workerFlightFile('a/b', 3), workerFlightFile('w', 4), 'coordinator-3.jsonl', 'w-23.json', 'other.txt'];
  expect(names[0]).toBe('a%2Fb-3.json');
  expect(overdueFlightFiles(names, 23)).toEqual(['a%2Fb-3.json', 'coordinator-3.jsonl']);
});

describe('the timeline', () => {
  const event = (number: number, atMs: number, kind: string, generation: number): FlightEvent => {
    return { number, atMs, kind, generation, text: kind };
  };
  const flight = (workerId: string, host: string, changes: Partial<WorkerFlight>): WorkerFlight => {
    const own = { runId: 'r', workerId, host, pid: 1, generation: 1, writtenMs: 0, events: [], steps: [], frames: '' };
    return { version: 1, ...own, ...changes };
  };
  const coordinator: CoordinatorEvent[] = [
    event(0, 1000, 'start', 1),
    event(1, 2000, 'lost', 1),
    event(2, 2001, 'halt', 2),
    event(3, 2050, 'start', 2),
  ].map((one) => ({ ...one, runId: 'r', host: 'a', pid: 1 }));

  it('merges files that overlap, in order, from the start of the last generation', () => {
    const events = [event(0, 1000.2, 'start', 1), event(1, 2001.5, 'halted', 2)];
    const steps = [
      [6, 1, 1979, 1, 2, 3, 4, 0, 1, 2],
      [7, 1, 1989, 1, 2, 3, 4, 0, 2, 2],
    ];
    const flights = [
      flight('w0', 'a', { events: events.slice(0, 1), steps, writtenMs: 1 }),
      flight('w0', 'a', { events, steps, writtenMs: 2 }),
    ];
    const { zeroGeneration, events: merged } = timelineOf(flights, coordinator);
    expect(zeroGeneration).toBe(2);
    expect(merged.map(({ ms, who, kind }) => `${Math.round(ms)} ${who} ${kind}`)).toEqual([
      '-1050 coordinator start',
      '-1050 w0 start',
      '-51 w0 steps',
      '-50 coordinator lost',
      '-49 coordinator halt',
      '-48 w0 halted',
      '0 coordinator start',
    ]);
    expect(merged[2]?.text).toBe(
      '7 to 8 committed: data 1.000, compute 2.000, network 3.000, optimizer 4.000, waiting 0.000 ms each; ' +
        '1.500 of network awaiting others, rank 2 in 2 of 2',
    );
  });

  it("moves another host's times to the coordinator's clock, by the start that came soonest", () => {
    // Its clock is 500 ms ahead; the first start took 8 ms, the second 2 ms.
    const events = [event(0, 1508, 'start', 1), event(1, 2505, 'halted', 2), event(2, 2552, 'start', 2)];
    const { clocks, events: merged } = timelineOf([flight('w1', 'b', { events })], coordinator);
    expect(clocks).toEqual([{ host: 'b', shiftMs: -502 }]);
    expect(merged.find(({ kind }) => kind === 'halted')?.ms).toBe(-47);
  });

  it('says of which host it does not know the clock', () => {
    expect(timelineOf([flight('w1', 'b', {})], coordinator).clocks).toEqual([{ host: 'b', shiftMs: null }]);
  });

  it('counts the frames of each generation, and those that are not whole', () => {
    const ring = new FrameRing(8);
    ring.done(ring.add('sent', 1, header(7), 1990), 1991);
    ring.add('received', 1, header(7), 1992);
    const frames = Buffer.from(ring.bytes()).toString('base64');
    const { events } = timelineOf([flight('w0', 'a', { frames })], coordinator);
    expect(events.find(({ kind }) => kind === 'frames')?.text).toBe(
      '1 sent, 1 received (1 not whole); the last: partial of step 7, bucket 1, chunk 2, node 4, 64 bytes, from rank 1, not whole',
    );
  });
});
