/** The coordinator on real sockets, against workers that say what the test wants. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Coordinator } from '../../coordinator/coordinator.js';
import type { CoordinatorOptions } from '../../coordinator/coordinator-options.js';
import { jobSchema } from '../../src/job/job.js';
import type { ToldRecovery } from '../../coordinator/run-record.js';
import type { Log } from '../../src/log.js';
import { defaultLimits } from '../../src/protocol/limits.js';
import { fromCoordinatorSchema, type FromCoordinator, type FromWorker } from '../../src/protocol/messages.js';
import { lockstepVersion } from '../../src/version.js';
import type { Connection } from '../../transport/connection.js';
import { dial } from '../../transport/dialler.js';

const token = 'a token of this test';
const silentLog: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const observer = { onSteps: ignore, onValidation: ignore, onCheckpoint: ignore, onRecovery: ignore, onReason: ignore };
const data = { length: 8, read: () => ({ x: column(), y: column() }) };
const job = jobSchema.parse({
  name: 'test',
  model: ignore,
  loss: 'meanSquaredError',
  data: { train: data },
  optimizer: { name: 'sgd', learningRate: 0.1 },
  batchSize: 4,
});

function ignore(): undefined {
  return undefined;
}

function column(): { data: Float32Array; shape: number[] } {
  return { data: new Float32Array(1), shape: [1, 1] };
}

describe('the coordinator', () => {
  const limits = { ...defaultLimits, heartbeatMs: 50, heartbeatTimeoutMs: 500, loadingTimeoutMs: 500 };
  const options = (changes: Partial<CoordinatorOptions> = {}): CoordinatorOptions => ({
    runId: 'r',
    term: 1,
    past: null,
    before: null,
    journal: null,
    runDir: '/nowhere',
    loaded: { job, path: '/job.ts', baseDir: '/', facts: { 'job file': 'a' } },
    overrides: [],
    numWorkers: 1,
    minWorkers: 1,
    slots: 1,
    threads: 1,
    steps: null,
    resume: null,
    endpoint: { kind: 'tcp', host: '127.0.0.1', port: 0 },
    token,
    limits,
    observer,
    log: silentLog,
    ...changes,
  });
  let coordinator: Coordinator;

  beforeEach(async () => {
    coordinator = await Coordinator.start(options());
  });

  afterEach(async () => {
    await coordinator.close();
  });

  const join = async (workerId: string): Promise<Connection> => {
    const { endpoint } = coordinator;
    const connection = await dial({ endpoint, token, limits, maxMessageBytes: limits.maxControlBytes });
    connection.send({ type: 'hello', workerId, host: 'h', pid: 1, lockstepVersion, standing: null });
    await expectMessage(connection, 'welcome');
    return connection;
  };

  /** Two workers of a generation that has started. */
  const train = async (...ids: [string, string]): Promise<[Connection, Connection]> => {
    const [first, second] = [await join(ids[0]), await join(ids[1])];
    const workers: [Connection, Connection] = [first, second];
    for (const worker of workers) worker.send(ready({ 'job file': 'a' }, { trainRows: 8 }));
    for (const worker of workers) await expectMessage(worker, 'generation');
    for (const worker of workers) worker.send({ type: 'connected', generation: 1, prefersMemory: true });
    for (const worker of workers) await expectMessage(worker, 'start');
    return workers;
  };

  it('does not take its own silence for that of its workers', async () => {
    const worker = await join('a');
    worker.send({ type: 'heartbeat', step: 0, waiting: null, stage: null, pace: null });
    stopThisProcess(2 * limits.heartbeatTimeoutMs);
    await vi.waitUntil(() => coordinator.status().workers[0]?.state === 'loading');
    for (let i = 0; i < 4; i++) {
      worker.send({ type: 'heartbeat', step: 0, waiting: `beat ${i}`, stage: null, pace: null });
      await vi.waitUntil(() => coordinator.status().workers[0]?.waiting === `beat ${i}`);
    }
    worker.close();
  });

  it('goes on with those that are left, and tells how the lost one ended', async () => {
    await coordinator.close();
    const recoveries: ToldRecovery[] = [];
    const told = { ...observer, onRecovery: (recovery: ToldRecovery) => recoveries.push(recovery) };
    const explainLoss = (): Promise<string> => Promise.resolve('it was killed by SIGKILL');
    coordinator = await Coordinator.start(options({ numWorkers: 2, slots: 2, observer: told, explainLoss }));
    const [a, b] = await train('a', 'b');
    b.terminate();
    expect(await next(a, 'halt')).toEqual({ type: 'halt', generation: 2 });
    a.send({ type: 'halted', generation: 2, step: 3 });
    expect(await next(a, 'generation')).toMatchObject({
      generation: 2,
      step: 3,
      workers: [{ workerId: 'a', endSlot: 2 }],
    });
    a.send({ type: 'connected', generation: 2, prefersMemory: true });
    await next(a, 'start');
    await vi.waitUntil(() => recoveries.length === 1);
    expect(recoveries).toMatchObject([
      { kind: 'lost', workerId: 'b', step: 3, why: 'it was killed by SIGKILL', recomputedSlots: 1, numWorkers: 1 },
    ]);
    a.close();
  });

  it('tells a silent worker and its launcher that it is out of the run', async () => {
    await coordinator.close();
    const evicted: string[] = [];
    const onEvicted = (workerId: string): unknown => evicted.push(workerId);
    coordinator = await Coordinator.start(options({ numWorkers: 2, slots: 2, onEvicted }));
    const [a, b] = await train('a', 'b');
    const beats = setInterval(() => {
      a.send({ type: 'heartbeat', step: 0, waiting: null, stage: null, pace: null });
    }, limits.heartbeatMs);
    expect(await next(b, 'abort')).toMatchObject({ failure: { code: 'ERR_WORKER_LOST' } });
    clearInterval(beats);
    expect(evicted).toEqual(['b']);
    expect((await b.closed).code).toBe(1008);
    a.close();
  });

  it('does not wait for ever for a disk that does not say which checkpoint is the newest', async () => {
    await coordinator.close();
    const findCheckpoint = (): Promise<null> => new Promise(() => undefined);
    const impatient = { ...limits, workersTimeoutMs: 1_000 };
    coordinator = await Coordinator.start(options({ numWorkers: 2, slots: 2, limits: impatient, findCheckpoint }));
    const workers = await train('a', 'b');
    for (const worker of workers) worker.terminate();
    await vi.waitUntil(() => coordinator.status().workers.length === 0);
    const newcomer = await join('c');
    newcomer.send(ready({ 'job file': 'a' }, { trainRows: 8 }));
    const { error } = await coordinator.ended;
    newcomer.close();
    expect(error).toMatchObject({ code: 'ERR_RUN_DIR', message: expect.stringContaining('within 1000 ms') as string });
  });

  it.each([
    ['it has heard of', null, [8, 4, 8, 9]],
    ['the coordinator before it had heard of', { step: 8, path: '/c8' }, [4, 8, 9]],
  ])('does not take a checkpoint for the newest that is older than the one %s', async (_what, checkpoint, steps) => {
    await coordinator.close();
    const told: string[] = [];
    const onCheckpoint = (_step: number, path: string): void => void told.push(path);
    const past = checkpoint && { numWanted: 2, generation: 0, roster: [], checkpoint };
    const watched = { ...observer, onCheckpoint };
    coordinator = await Coordinator.start(options({ numWorkers: 2, slots: 2, past, observer: watched }));
    const workers = await train('a', 'b');
    for (const step of steps) workers[0].send({ type: 'checkpointed', step, path: `/c${step}` });
    await vi.waitUntil(() => told.includes('/c9'));
    expect(told).not.toContain('/c4');
    expect(coordinator.status().checkpoint).toBe('/c9');
    for (const worker of workers) worker.close();
  });

  it('warns of workers that compute on different processors', async () => {
    await coordinator.close();
    const warnings: string[] = [];
    const log = { ...silentLog, warn: (message: string) => warnings.push(message) };
    coordinator = await Coordinator.start(options({ numWorkers: 3, slots: 3, log }));
    const facts = { 'job file': 'a' };
    const workers = await Promise.all(['a', 'b', 'c'].map(join));
    for (const [i, device] of ['cpu (X)', 'cpu (X)', 'cpu (Y)'].entries()) {
      workers[i]?.send({ ...ready(facts, { trainRows: 8 }), device });
      await vi.waitUntil(() => coordinator.status().workers[i]?.device === device);
    }
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('worker c computes on cpu (Y), worker a on cpu (X)');
    for (const worker of workers) worker.close();
  });

  it('learns nothing about the run from a worker that it refuses', async () => {
    const other = await join('other');
    other.send(ready({ 'job file': 'b' }, { trainRows: 4 }));
    await expectMessage(other, 'abort');
    const worker = await join('a');
    worker.send(ready({ 'job file': 'a' }, { trainRows: 8 }));
    await expectMessage(worker, 'generation');
    expect(coordinator.status().totalSteps).toBe(2);
    worker.close();
  });
});

function ready(facts: Record<string, string>, { trainRows }: { trainRows: number }): FromWorker {
  return {
    type: 'ready',
    facts: { 'Lockstep version': lockstepVersion, ...facts },
    device: 'cpu',
    engine: 'e',
    compiled: false,
    trainRows,
    validationRows: null,
    metricNames: [],
    addresses: { hostId: 'h', unixPath: null, tcp: [] },
  };
}

async function next<T extends FromCoordinator['type']>(
  connection: Connection,
  type: T,
): Promise<Extract<FromCoordinator, { type: T }>> {
  const message = await connection.receive(fromCoordinatorSchema, { what: type, timeoutMs: 5_000 });
  if (message.type !== type) throw new Error(`A ${message.type} came instead of ${type}`);
  return message as Extract<FromCoordinator, { type: T }>; // of just that type
}

async function expectMessage(connection: Connection, type: FromCoordinator['type']): Promise<void> {
  await next(connection, type);
}

/** As SIGSTOP does, and a long garbage collection. */
function stopThisProcess(durationMs: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, durationMs);
}
