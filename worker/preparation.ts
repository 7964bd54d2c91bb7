/**
 * What a worker does once it is welcome: loads the job, the engine and the data, makes the model, and says which facts
 * it found. Nothing here is shared with other workers yet.
 */
import { LockstepError } from '../src/errors.js';
import { dataFacts } from '../src/job/data-facts.js';
import { cutRows } from '../src/job/micro-batches.js';
import { openData, type Dataset } from '../src/job/dataset.js';
import type { LoadedJob, LoadJob } from '../src/job/loaded-job.js';
import { Schedule } from '../src/job/schedule.js';
import type { Log } from '../src/log.js';
import type { Facts } from '../src/protocol/facts.js';
import type { RunPlan } from '../src/protocol/messages.js';
import { requireTreated } from '../src/optimizer/treatment.js';
import { planLayout, type Layout } from '../src/state/layout.js';
import { lockstepVersion } from '../src/version.js';
import { defaultBucketBytes } from '../src/collective/buckets.js';
import { maxSegmentElements } from './comm/reservation.js';
import type { CheckpointFiles } from './checkpoint/checkpoint-files.js';
import { readCheckpointHeader } from './checkpoint/checkpoint-reader.js';
import { loadEngine, type Engine } from './compute/engine/load.js';
import { CompiledStep } from './compute/compiled/compiled-step.js';
import { TrainingStep, type SlotStep } from './compute/step.js';
import { modelFacts, weightsFact } from './facts.js';
import { InitialWeights } from './initial-weights.js';
import { locate } from './locate.js';
import type { RowRequests } from './served-dataset.js';
import { numExtraScalars, requireValidated } from './validations.js';

export interface Data {
  readonly train: Dataset;
  readonly validation: Dataset | null;
}

/** A worker that is ready for its first generation. */
export interface Prepared {
  readonly plan: RunPlan;
  readonly loaded: LoadedJob;
  readonly engine: Engine;
  readonly data: Data;
  readonly step: SlotStep;
  /** The model's first weights, in the order of the step's parameters, at any time. */
  readonly firstWeights: () => Promise<readonly Float32Array[]>;
  /** What the run begins with instead, where the job says so. */
  readonly initialWeights: InitialWeights | null;
  /** Whether steps of a full slot run as one graph. */
  readonly compiled: boolean;
  readonly layout: Layout;
  readonly schedule: Schedule;
  readonly facts: Facts;
  /** Steps that the checkpoint has, or 0. */
  readonly firstStep: number;
  readonly files: CheckpointFiles;
}

export interface PreparationOptions {
  readonly plan: RunPlan;
  /** The job file on this machine. @default the path that the coordinator has */
  readonly jobPath?: string | undefined;
  readonly loadJob: LoadJob;
  readonly device: 'auto' | 'cpu' | 'gpu';
  readonly rows: RowRequests;
  readonly files: CheckpointFiles;
  readonly log: Log;
}

export async function prepare(options: PreparationOptions): Promise<Prepared> {
  const { plan, log } = options;
  const engine = await loadEngine({ threads: plan.threads, device: options.device, log });
  const loaded = await options.loadJob(options.jobPath ?? plan.jobPath, plan.overrides);
  const { job, baseDir } = loaded;
  const data = await openAll(options, loaded);
  const sample = await data.train.read(rowsOf(Math.min(2, data.train.length)));
  const model = { tf: engine.tf, job, seed: job.seed, log, sample, baseDir };
  const eager = await TrainingStep.build(model);
  requireTreated(job.optimizer, trainableNames(eager));
  if (job.best) requireValidated(job.best, eager.metricNames);
  const layout = planLayout(eager.parameters, 1 + eager.metricNames.length + numExtraScalars(job), {
    maxSegmentElements: maxSegmentElements({ ...job, slots: plan.slots, bucketBytes: defaultBucketBytes }),
  });
  const initialWeights = job.initialWeights === undefined ? null : new InitialWeights(job.initialWeights, baseDir);
  const header = plan.resumeFrom === null ? null : await readCheckpointHeader(plan.resumeFrom, options.files);
  const start = header
    ? { 'weights of the checkpoint': header.weightsSha256 }
    : { 'initial weights': (await initialWeights?.check(eager.parameters)) ?? weightsFact(eager.initialValues()) };
  const facts = {
    'Lockstep version': lockstepVersion,
    ...loaded.facts,
    ...(await allDataFacts(plan, data)),
    engine: engine.description,
    ...modelFacts(eager.parameters),
    ...start,
  };
  const schedule = new Schedule({
    ...job,
    rows: data.train.length,
    slots: plan.slots,
    steps: plan.steps ?? job.steps,
  });
  const { step, compiled } = await compileStep(eager, { engine, job, data, schedule, log });
  const firstWeights = (): Promise<readonly Float32Array[]> => TrainingStep.valuesMadeAnew(model);
  return {
    ...{ plan, loaded, engine, data, step, firstWeights, initialWeights, compiled, layout, schedule, facts },
    ...{ firstStep: header?.step ?? 0, files: options.files },
  };
}

interface CompileContext extends Pick<Prepared, 'engine' | 'data' | 'schedule'> {
  readonly job: LoadedJob['job'];
  readonly log: Log;
}

/** Compiled on the run's first micro-batch, so that every worker finds the same, whatever slots it will hold. */
async function compileStep(
  eager: TrainingStep,
  { engine, job, data, schedule, log }: CompileContext,
): Promise<Pick<Prepared, 'step' | 'compiled'>> {
  if (!job.compile || engine.backend !== 'tensorflow') return { step: eager, compiled: false };
  const step = new CompiledStep({ tf: engine.tf, step: eager, log, addon: engine.native?.addon });
  const rows = schedule.sampler.indices(0, 0);
  const indices = rows.subarray(0, cutRows(rows.length, job.microBatches)[0]?.end);
  // Few rows over many slots: whoever has rows compiles when it meets them.
  if (indices.length === 0) return { step, compiled: false };
  const batch = await data.train.read(indices);
  try {
    return { step, compiled: step.prepare(batch, { seed: job.seed, step: 0, slot: 0 }) };
  } catch (thrown) {
    throw locate(thrown, data.train, indices, 0);
  }
}

async function openAll({ plan, rows }: PreparationOptions, { job, baseDir }: LoadedJob): Promise<Data> {
  if (plan.served) {
    const { trainRows, validationRows } = plan.served;
    const validation = validationRows === null ? null : rows.dataset('validation', validationRows);
    return { train: rows.dataset('train', trainRows), validation };
  }
  const { train, validation } = job.data;
  return {
    train: nonEmpty('train', await openData(train, { baseDir })),
    validation: validation ? nonEmpty('validation', await openData(validation, { baseDir })) : null,
  };
}

function nonEmpty(split: string, data: Dataset): Dataset {
  if (data.length > 0) return data;
  throw new LockstepError('ERR_DATA_INVALID', `The ${split} data has no rows; at least one is needed.`);
}

async function allDataFacts(plan: RunPlan, { train, validation }: Data): Promise<Facts> {
  if (plan.served) return plan.served.facts;
  return { ...(await dataFacts('train', train)), ...(validation ? await dataFacts('validation', validation) : {}) };
}

function trainableNames({ parameters }: SlotStep): string[] {
  return parameters.filter(({ trainable }) => trainable).map(({ name }) => name);
}

function rowsOf(count: number): number[] {
  return Array.from({ length: count }, (_, row) => row);
}
