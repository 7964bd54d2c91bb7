/** The coordinator on real sockets, against workers that say what the test wants. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Coordinator, type CoordinatorOptions } from '../../coordinator/coordinator.js';
import { jobSchema } from '../../src/job/job.js';
import type { Log } from '../../src/log.js';
import { defaultLimits } from '../../src/protocol/limits.js';
import { fromCoordinatorSchema, type FromCoordinator, type FromWorker } from '../../src/protocol/messages.js';
import { lockstepVersion } from '../../src/version.js';
import type { Connection } from '../../transport/connection.js';
import { dial } from '../../transport/dialler.js';

const token = 'a token of this test';
const silentLog: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const observer = { onSteps: ignore, onValidation: ignore, onCheckpoint: ignore, onReason: ignore };
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
  const limits = { ...defaultLimits, heartbeatMs: 50, heartbeatTimeoutMs: 500 };
  const options = (changes: Partial<CoordinatorOptions> = {}): CoordinatorOptions => ({
    runId: 'r',
    runDir: '/nowhere',
    loaded: { job, path: '/job.ts', baseDir: '/', facts: { 'job file': 'a' } },
    overrides: [],
    numWorkers: 1,
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
  let error: string | null;

  beforeEach(async () => {
    error = null;
    coordinator = await Coordinator.start(options());
    void coordinator.ended.then((result) => (error = result.error?.message ?? null));
  });

  afterEach(async () => {
    await coordinator.close();
  });

  const join = async (workerId: string): Promise<Connection> => {
    const { endpoint } = coordinator;
    const connection = await dial({ endpoint, token, limits, maxMessageBytes: limits.maxControlBytes });
    connection.send({ type: 'hello', workerId, host: 'h', pid: 1, lockstepVersion });
    await expectMessage(connection, 'welcome');
    return connection;
  };

  it('does not take its own silence for that of its workers', async () => {
    const worker = await join('a');
    worker.send({ type: 'heartbeat', step: 0, waiting: null });
    stopThisProcess(2 * limits.heartbeatTimeoutMs);
    await vi.waitUntil(() => coordinator.status().workers[0]?.state === 'loading');
    for (let i = 0; i < 4; i++) {
      worker.send({ type: 'heartbeat', step: i, waiting: null });
      await vi.waitUntil(() => error !== null || coordinator.status().workers[0]?.step === i);
    }
    expect(error).toBeNull();
    worker.close();
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

async function expectMessage(connection: Connection, type: FromCoordinator['type']): Promise<void> {
  const message = await connection.receive(fromCoordinatorSchema, { what: type, timeoutMs: 5_000 });
  expect(message.type).toBe(type);
}

/** As SIGSTOP does, and a long garbage collection. */
function stopThisProcess(durationMs: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, durationMs);
}
