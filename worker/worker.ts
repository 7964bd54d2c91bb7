/**
 * One worker from start to end: joins the coordinator, prepares, takes part in one generation after the other, and leaves.
 * An error is told to the coordinator before it is thrown, so that the person who waits there reads it.
 */
import { cpus, hostname } from 'node:os';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { defaultBucketBytes } from '../src/collective/buckets.js';
import { LockstepError, toLockstepError } from '../src/errors.js';
import type { LoadJob } from '../src/job/loaded-job.js';
import type { Log } from '../src/log.js';
import type { Limits } from '../src/protocol/limits.js';
import { toFailure, type FromCoordinator, type FromWorker } from '../src/protocol/messages.js';
import { lockstepVersion } from '../src/version.js';
import type { Endpoint } from '../transport/endpoint.js';
import { CommLink } from './comm/comm-link.js';
import { makeSharedSteps, StepRing } from '../src/flight/step-ring.js';
import { makeCommTimes } from './comm/comm-times.js';
import { makeRunMemory } from './comm/run-memory.js';
import { findSharedPages } from './compute/engine/native-build.js';
import { Inbox } from './inbox.js';
import { InitialState } from './initial-state.js';
import { prepare, type Prepared } from './preparation.js';
import { findFiles } from './run-files.js';
import { RowRequests } from './served-dataset.js';
import { Training } from './training.js';

export interface WorkerOptions {
  /** Unique for each process start. */
  readonly workerId: string;
  readonly coordinator: Endpoint;
  readonly token: string | null;
  readonly limits: Limits;
  /** A network address for peers of other hosts; null: this host only. */
  readonly listen: Endpoint | null;
  readonly device: 'auto' | 'cpu' | 'gpu';
  /** The job file on this machine. @default the path that the coordinator has */
  readonly jobPath?: string | undefined;
  readonly loadJob: LoadJob;
  /** Aborted when this worker is to leave the run. @default it stays */
  readonly leave?: AbortSignal;
  readonly log: Log;
}

export async function runWorker(options: WorkerOptions): Promise<void> {
  const { workerId, coordinator, token, limits, listen, log } = options;
  const inbox = new Inbox();
  let training: Training | null = null;
  const send = (message: FromWorker): void => {
    link.send(message);
  };
  const rows = new RowRequests(send);
  const link: CommLink = await CommLink.start(
    { workerId, coordinator, token, limits, listen, sharedPagesPath: findSharedPages() },
    {
      onMessage: (message) => {
        if (message.type === 'rows') rows.settle(message);
        else if (message.type === 'drain') training?.drain();
        else inbox.add(message);
      },
      onOfGeneration: (message) => {
        inbox.add(message);
      },
      onFailure: (error, left) => {
        if (left) training?.orphan(left);
        inbox.fail(error);
      },
    },
    log,
  );
  for (const address of link.addresses.tcp) log.info(`workers of other hosts reach this one at ${address}`);
  try {
    const prepared = await join(options, link, inbox, rows);
    training = enterRun(options, { prepared, link, inbox, send });
    sayReady(prepared, link);
    const leave = (): void => training?.leave();
    options.leave?.addEventListener('abort', leave, { once: true });
    if (options.leave?.aborted === true) leave();
    await training.run();
    prepared.step.dispose();
  } catch (thrown) {
    const failure = toLockstepError(thrown);
    const error = (await training?.leaveBehind(failure)) ?? failure;
    if (error.details['fromCoordinator'] !== true) {
      link.send({ type: 'failed', failure: toFailure(error, stepOf(error)) });
    }
    throw error;
  } finally {
    // A disk that does not answer holds up nobody for ever.
    await Promise.race([training?.close(), delay(limits.coordinatorTimeoutMs, undefined, { ref: false })]);
    await link.close();
  }
}

async function join(options: WorkerOptions, link: CommLink, inbox: Inbox, rows: RowRequests): Promise<Prepared> {
  const { workerId, jobPath, loadJob, device, log } = options;
  link.send({ type: 'hello', workerId, host: hostname(), pid: process.pid, lockstepVersion, standing: null });
  const { plan } = await welcome(inbox, options.limits);
  link.beat(plan.heartbeatMs);
  const local = jobPath === undefined ? undefined : resolve(jobPath);
  const files = await findFiles(plan, link, log);
  return inbox.unlessFailed(prepare({ plan, jobPath: local, loadJob, device, rows, files, log }));
}

/** Before that nothing beats, and a coordinator that is stopped takes connections too. */
async function welcome(
  inbox: Inbox,
  { connectTimeoutMs }: Limits,
): Promise<Extract<FromCoordinator, { type: 'welcome' }>> {
  const timer = setTimeout(() => {
    const message = `The coordinator has not answered within ${connectTimeoutMs} ms, though it took the connection.`;
    inbox.fail(new LockstepError('ERR_TIMEOUT', message));
  }, connectTimeoutMs);
  try {
    return await inbox.next('welcome');
  } finally {
    clearTimeout(timer);
  }
}

/** With the memory of the whole run. */
function enterRun(
  { log }: WorkerOptions,
  parts: {
    readonly prepared: Prepared;
    readonly link: CommLink;
    readonly inbox: Inbox;
    readonly send: (message: FromWorker) => void;
  },
): Training {
  const { prepared, link } = parts;
  const { plan, layout, loaded, engine } = prepared;
  const { wire, optimizer, onNotFinite } = loaded.job;
  const common = { slots: plan.slots, bucketBytes: defaultBucketBytes, wire, optimizer, onNotFinite };
  const { memory, sharedMemory, pages } = makeRunMemory({ ...common, layout, sharedPagesPath: findSharedPages() });
  // Untried with the driver of a GPU, which has ways of its own with a process that ends.
  if (engine.device === 'cpu') pages?.keepMemory();
  const times = makeCommTimes();
  const sharedSteps = makeSharedSteps();
  const stepAddonPath = engine.native?.path ?? null;
  link.prepare({
    ...common,
    computeThreads: engine.device === 'gpu' ? 0 : plan.threads,
    runId: plan.runId,
    memory: memory.share(),
    sharedMemory,
    times,
    steps: sharedSteps,
    stepAddonPath,
  });
  return new Training({
    ...parts,
    memory,
    initial: InitialState.place(prepared, memory),
    times,
    steps: new StepRing(sharedSteps),
    pages,
    log,
  });
}

function sayReady(prepared: Prepared, link: CommLink): void {
  link.send({
    type: 'ready',
    facts: prepared.facts,
    device: describeDevice(prepared.engine.device),
    engine: prepared.engine.description,
    compiled: prepared.compiled,
    trainRows: prepared.data.train.length,
    validationRows: prepared.data.validation?.length ?? null,
    metricNames: [...prepared.step.metricNames],
    addresses: link.addresses,
  });
}

function stepOf({ details }: LockstepError): number | null {
  return typeof details['step'] === 'number' ? details['step'] : null;
}

/** "cpu (Intel(R) Xeon(R) …)", "gpu". */
function describeDevice(device: 'cpu' | 'gpu'): string {
  return device === 'gpu' ? device : `${device} (${cpus()[0]?.model ?? 'of an unknown kind'})`;
}
