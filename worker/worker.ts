/**
 * One worker from start to end: joins the coordinator, prepares, enters the generation, trains, and leaves. An error is
 * told to the coordinator before it is thrown, so that the person who waits there reads it.
 */
import { cpus, hostname } from 'node:os';
import { resolve } from 'node:path';
import { defaultBucketBytes } from '../src/collective/buckets.js';
import { ownedRanges } from '../src/collective/shard.js';
import type { LockstepError } from '../src/errors.js';
import { assert, toLockstepError } from '../src/errors.js';
import type { LoadJob } from '../src/job/loaded-job.js';
import type { Log } from '../src/log.js';
import type { Limits } from '../src/protocol/limits.js';
import { toFailure, type FromWorker, type Generation } from '../src/protocol/messages.js';
import { type FlatMemory, PARAMETERS } from '../src/state/memory.js';
import { lockstepVersion } from '../src/version.js';
import type { Endpoint } from '../transport/endpoint.js';
import { Brake } from './brake.js';
import { readCheckpoint, readWeights } from './checkpoint/checkpoint-reader.js';
import type { Sharding } from './checkpoint/tensors.js';
import { CommLink } from './comm/comm-link.js';
import { makeGenerationMemory } from './comm/generation-memory.js';
import { StepWords } from './comm/step-words.js';
import { findSharedPages } from './compute/engine/native-build.js';
import { Inbox } from './inbox.js';
import { prepare, type Prepared } from './preparation.js';
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
  readonly log: Log;
}

export async function runWorker(options: WorkerOptions): Promise<void> {
  const { workerId, coordinator, token, limits, listen, log } = options;
  const inbox = new Inbox();
  let connected: (waker: number) => void = () => undefined;
  let brake: Brake | null = null;
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
        else if (message.type === 'drain') brake?.drain();
        else inbox.add(message);
      },
      onConnected: (_generation, waker) => {
        connected(waker);
      },
      onFailure: (error) => {
        inbox.fail(error);
      },
    },
    log,
  );
  for (const address of link.addresses.tcp) log.info(`workers of other hosts reach this one at ${address}`);
  try {
    const prepared = await join(options, link, inbox, rows);
    const generation = await inbox.next('generation');
    const allConnected = new Promise<number>((done) => (connected = done));
    brake = new Brake({ inbox, send, step: prepared.firstStep });
    training = await enterGeneration({ prepared, generation, options, link, inbox, brake, send, allConnected });
    await training.run();
    await inbox.next('goodbye');
    prepared.step.dispose();
  } catch (thrown) {
    const error = toLockstepError(thrown);
    if (error.details['fromCoordinator'] !== true) {
      link.send({ type: 'failed', failure: toFailure(error, stepOf(error)) });
    }
    throw error;
  } finally {
    await training?.close();
    await link.close();
  }
}

async function join(options: WorkerOptions, link: CommLink, inbox: Inbox, rows: RowRequests): Promise<Prepared> {
  const { workerId, jobPath, loadJob, device, log } = options;
  link.send({ type: 'hello', workerId, host: hostname(), pid: process.pid, lockstepVersion });
  const { plan } = await inbox.next('welcome');
  link.beat(plan.heartbeatMs);
  const local = jobPath === undefined ? undefined : resolve(jobPath);
  const prepared = await inbox.unlessFailed(prepare({ plan, jobPath: local, loadJob, device, rows, log }));
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
  return prepared;
}

async function enterGeneration(entry: {
  readonly prepared: Prepared;
  readonly generation: Generation;
  readonly options: WorkerOptions;
  readonly link: CommLink;
  readonly inbox: Inbox;
  readonly brake: Brake;
  readonly send: (message: FromWorker) => void;
  readonly allConnected: Promise<number>;
}): Promise<Training> {
  const { prepared, generation, options, link, inbox, brake, send, allConnected } = entry;
  const { workers } = generation;
  const self = workers.find(({ workerId }) => workerId === options.workerId);
  assert(self, `worker ${options.workerId} is not in its generation`);
  const { plan, layout, loaded, firstStep } = prepared;
  const own = {
    generation: { generation: generation.generation, workers },
    rank: self.rank,
    slots: plan.slots,
    layout,
    bucketBytes: defaultBucketBytes,
    wire: loaded.job.wire,
    optimizer: loaded.job.optimizer,
    step: firstStep,
  };
  const {
    plan: allReduce,
    memory,
    sharedMemory,
    words,
    times,
  } = makeGenerationMemory({ ...own, sharedPagesPath: findSharedPages() });
  const sharding: Sharding | null = allReduce.isSharded
    ? {
        ranges: ownedRanges(allReduce),
        buckets: allReduce.buckets,
        gather: (region, bucket) => inbox.unlessFailed(link.gatherMoments(region, bucket)),
      }
    : null;
  await fillState(prepared, memory, sharding);
  prepared.step.bindWeights(weightViews(prepared, memory));
  const stepAddonPath = prepared.engine.native?.path ?? null;
  link.enter({ ...own, runId: plan.runId, memory: memory.share(), sharedMemory, words, times, stepAddonPath });
  const waker = await inbox.unlessFailed(allConnected);
  link.send({ type: 'connected', generation: generation.generation });
  await inbox.next('start');
  const { log } = options;
  const { hosts, buckets } = allReduce;
  if (hosts) log.info(`gradients are summed on each host first: ${hosts.numHosts} hosts of ${hosts.perHost} workers`);
  const paced = { buckets, words: new StepWords(words), times, waker };
  return new Training({ prepared, self, memory, sharding, ...paced, inbox, brake, send, log });
}

/** The weights that the run begins with: the checkpoint's, the job's file, or the model's own. */
async function fillState(
  { plan, loaded, layout, step }: Prepared,
  memory: FlatMemory,
  sharding: Sharding | null,
): Promise<void> {
  const { initialWeights, optimizer } = loaded.job;
  if (plan.resumeFrom !== null) {
    await readCheckpoint({ path: plan.resumeFrom, memory, optimizer, sharding });
    return;
  }
  if (initialWeights !== undefined) {
    await readWeights(resolve(loaded.baseDir, initialWeights), memory);
    return;
  }
  const values = step.initialValues();
  for (const [index, view] of weightViews({ step, layout }, memory).entries()) view.set(values[index] ?? []);
}

/** The shared parameters, in the order in which the model has them. */
function weightViews({ step, layout }: Pick<Prepared, 'step' | 'layout'>, memory: FlatMemory): Float32Array[] {
  const placed = new Map(layout.parameters.map((parameter) => [parameter.name, parameter]));
  return step.parameters.map(({ name }) => {
    const parameter = placed.get(name);
    assert(parameter, `parameter ${name} has no place in the layout`);
    return memory.parameterView(PARAMETERS, parameter);
  });
}

function stepOf({ details }: LockstepError): number | null {
  return typeof details['step'] === 'number' ? details['step'] : null;
}

/** "cpu (Intel(R) Xeon(R) …)", "gpu". */
function describeDevice(device: 'cpu' | 'gpu'): string {
  return device === 'gpu' ? device : `${device} (${cpus()[0]?.model ?? 'of an unknown kind'})`;
}
