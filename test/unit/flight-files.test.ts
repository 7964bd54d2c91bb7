/** What flight recorders leave in a run's folder. */
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FlightLog } from '../../coordinator/flight-log.js';
import { coordinatorEventSchema, workerFlightSchema } from '../../src/flight/records.js';
import { makeSharedSteps, StepRing } from '../../src/flight/step-ring.js';
import type { Log } from '../../src/log.js';
import { FlightRecorder } from '../../worker/flight/flight-recorder.js';

const ignore = (): void => undefined;
const silentLog: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore };

let runDir: string;

beforeEach(async () => {
  runDir = await mkdtemp(join(tmpdir(), 'lockstep-flight-'));
});
afterEach(() => rm(runDir, { recursive: true }));

const written = async (name: string): Promise<string> => readFile(join(runDir, 'flight', name), 'utf8');

describe('a worker', () => {
  const record = (complaints: string[] = []): FlightRecorder =>
    new FlightRecorder({ workerId: 'w', onUnwritable: (why) => complaints.push(why) });

  it('writes what it did in each generation, and keeps that of the last 20', async () => {
    const recorder = record();
    const steps = new StepRing(makeSharedSteps());
    recorder.recordSteps(steps);
    recorder.writeTo({ runDir, runId: 'r' });
    for (let generation = 1; generation <= 23; generation++) {
      recorder.enter(generation);
      steps.add([generation, generation, 0, 1, 2, 3, 4, 5, 0, -1]);
      recorder.note('halted', 'with the state', generation);
      recorder.write();
      await recorder.written;
    }
    const names = await readdir(join(runDir, 'flight'));
    expect(names.toSorted()).toEqual(Array.from({ length: 20 }, (_, i) => `w-${i + 4}.json`).toSorted());
    const last = workerFlightSchema.parse(JSON.parse(await written('w-23.json')));
    expect(last.steps.map(([step]) => step)).toEqual(Array.from({ length: 23 }, (_, i) => i + 1));
    expect(last.events.map(({ number, generation }) => [number, generation])).toEqual(
      Array.from({ length: 23 }, (_, i) => [i, i + 1]),
    );
  });

  it('has no more than the last events, however long it runs', async () => {
    const recorder = record();
    recorder.writeTo({ runDir, runId: 'r' });
    for (let i = 0; i < 5000; i++) recorder.note('halted', String(i));
    recorder.write();
    await recorder.written;
    const { events } = workerFlightSchema.parse(JSON.parse(await written('w-0.json')));
    expect(events.length).toBeLessThan(1000);
    expect(events.at(-1)).toMatchObject({ number: 4999, text: '4999' });
  });

  it('says once that it cannot write, where there is no such folder, and makes none', async () => {
    const complaints: string[] = [];
    const recorder = record(complaints);
    recorder.writeTo({ runDir: join(runDir, 'elsewhere'), runId: 'r' });
    for (let i = 0; i < 3; i++) {
      recorder.write();
      await recorder.written;
    }
    expect(complaints).toMatchObject([expect.stringMatching(/ENOENT/)]);
    expect(await readdir(runDir)).toEqual([]);
  });
});

describe('a coordinator', () => {
  const place = (generation: number): { runId: string; generation: number } => ({ runId: 'r', generation });

  it('writes a line for each event, also of the generation that it makes, and keeps those of the last 20', async () => {
    const flight = FlightLog.open(runDir, { isTakenBack: false, log: silentLog });
    for (let generation = 1; generation <= 22; generation++) {
      flight.onEvent({ type: 'lost', workerId: 'w', why: 'it was killed' }, place(generation - 1));
      flight.onEffect({ type: 'halt', generation, workerIds: ['a', 'b'] }, place(generation));
      flight.onEvent({ type: 'tick' }, place(generation));
    }
    expect(await readdir(join(runDir, 'flight'))).toHaveLength(20);
    const lines = (await written('coordinator-21.jsonl')).trimEnd().split('\n');
    const events = lines.map((line) => coordinatorEventSchema.parse(JSON.parse(line)));
    expect(events.map(({ kind, generation, text }) => [kind, generation, text])).toEqual([
      ['halt', 21, 'nothing older commits any more; asked of a, b'],
      ['lost', 21, 'w: it was killed'],
    ]);
  });

  it('goes on with the files of a run that it takes back, and puts those of another start aside', async () => {
    const folder = join(runDir, 'flight');
    await mkdir(folder);
    const open = (isTakenBack: boolean): void => {
      FlightLog.open(runDir, { isTakenBack, log: silentLog }).note({ kind: 'start', text: '' }, place(1));
    };
    open(true);
    open(true);
    expect((await written('coordinator-1.jsonl')).trimEnd().split('\n')).toHaveLength(2);
    open(false);
    expect((await written('coordinator-1.jsonl')).trimEnd().split('\n')).toHaveLength(1);
    expect(await readdir(`${folder}.old`)).toEqual(['coordinator-1.jsonl']);
  });
});
