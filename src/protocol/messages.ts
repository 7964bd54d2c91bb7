/** The control messages, a schema and a type for each. Docs: docs/protocol.md. */
import { z } from 'zod';
import { workerFaultSchema } from '../chaos/faults.js';
import { bytesSchema, fileQuestionSchemas } from './file-questions.js';

const count = z.int().min(0);
const maxTextLength = 65_536;
const text = z.string().max(maxTextLength);
/** Facts that must be equal in the whole run, by name: "model dense1/kernel" → "[784, 128] trainable". */
const factsSchema = z.record(text, text);

const addressesSchema = z.strictObject({
  /** Equal for processes that can reach one another's Unix sockets. */
  hostId: text,
  unixPath: text.nullable(),
  /** host:port, best first. */
  tcp: z.array(text).max(16),
});
export type Addresses = z.output<typeof addressesSchema>;

/** A loss or a metric may be NaN or infinite: that is for a person to see, and no breach of the protocol. */
const measurement = z.custom<number>((value) => typeof value === 'number', 'expected a number');

const failureSchema = z.strictObject({ code: text, message: text, step: count.nullable() });
export type Failure = z.output<typeof failureSchema>;

/** An error's account of itself. Its message may be a user's, of any length, and has to arrive nevertheless. */
export function toFailure(error: { readonly code: string; readonly message: string }, step: number | null): Failure {
  return { code: error.code, message: error.message.slice(0, maxTextLength), step };
}

export const stepRecordSchema = z.strictObject({
  /** Counted from 1: the number of steps committed. */
  step: z.int().positive(),
  loss: measurement,
  metrics: z.array(measurement),
});
export type StepRecord = z.output<typeof stepRecordSchema>;

/** Milliseconds per step, by what they go into: the means of a worker's last steps. */
const paceSchema = z.strictObject({
  data: z.number().min(0),
  compute: z.number().min(0),
  network: z.number().min(0),
  optimizer: z.number().min(0),
});

export const slotEvaluationSchema = z.strictObject({
  slot: count,
  rows: count,
  /** Sums over the rows, not means. */
  loss: measurement,
  metrics: z.array(measurement),
});
export type SlotEvaluation = z.output<typeof slotEvaluationSchema>;

export const rosterEntrySchema = z.strictObject({
  workerId: text,
  rank: count,
  host: text,
  firstSlot: count,
  endSlot: count,
  addresses: addressesSchema,
  /** Steps committed, whose state the worker holds when the generation begins; null: a newcomer holds none. */
  step: count.nullable(),
});
export type RosterEntry = z.output<typeof rosterEntrySchema>;

/** What a worker that is in a run tells a coordinator that it meets anew. */
const standingSchema = z.strictObject({
  runId: text,
  /** Of the coordinator that it heard last: a lower one is of the past. */
  term: z.int().positive(),
  /** The newest that it has heard of; 0: none. */
  generation: count,
  /** The last one that it entered, by rank of its workers; 0: none. */
  entered: count,
  workers: z.array(rosterEntrySchema),
  /** Steps committed. */
  step: count,
  /** It takes steps in the one that it entered, and has not been told to stop. */
  isTraining: z.boolean(),
  /** Since it heard of a coordinator last. */
  awayMs: z.number().min(0),
  /** Those of its `ready`; none before. */
  facts: factsSchema,
});
export type Standing = z.output<typeof standingSchema>;

const helloSchema = z.strictObject({
  type: z.literal('hello'),
  workerId: text,
  host: text,
  pid: count,
  lockstepVersion: text,
  /** Null: it begins. */
  standing: standingSchema.nullable(),
});

const columnSchema = z.strictObject({
  dtype: z.enum(['float32', 'int32', 'uint8']),
  shape: z.array(count).max(16),
  bytes: bytesSchema,
});

export const fromWorkerSchema = z.discriminatedUnion('type', [
  helloSchema,
  z.strictObject({
    type: z.literal('ready'),
    facts: factsSchema,
    device: text,
    engine: text,
    compiled: z.boolean(),
    trainRows: count,
    validationRows: count.nullable(),
    metricNames: z.array(text),
    addresses: addressesSchema,
  }),
  /** Nothing of an older generation than this one is committed any more. `step`: committed, and held whole. */
  z.strictObject({ type: z.literal('halted'), generation: z.int().positive(), step: count.nullable() }),
  /** `prefersMemory`: it reads the memory of every peer, and every peer its, and frames would gain nothing. */
  z.strictObject({ type: z.literal('connected'), generation: count, prefersMemory: z.boolean() }),
  z.strictObject({
    type: z.literal('heartbeat'),
    step: count,
    waiting: text.nullable(),
    /**
     * Of the step after those committed: it is not begun, while it evaluates or writes a checkpoint; its gradients are not all
     * there yet; or they are, and others' are awaited. Null where it does not train.
     */
    stage: z.enum(['between', 'computing', 'reducing']).nullable(),
    /** Null before it has taken some in this generation. */
    pace: paceSchema.nullable(),
  }),
  z.strictObject({
    type: z.literal('progress'),
    records: z.array(stepRecordSchema),
    /** Milliseconds per step, by what they go into; null before there are any. */
    stepTime: z.record(text, z.number()).nullable(),
  }),
  z.strictObject({ type: z.literal('evaluated'), step: count, slots: z.array(slotEvaluationSchema) }),
  /** Of weights and moments after `step` steps. */
  z.strictObject({ type: z.literal('state-hash'), step: count, hash: text }),
  z.strictObject({ type: z.literal('checkpointed'), step: count, path: text }),
  /** Said again in each generation, when its `drain` comes: what was said in an older one is forgotten. */
  z.strictObject({ type: z.literal('draining'), step: count }),
  /** It ends by wish, and its slots go to others. Answered by `goodbye`. */
  z.strictObject({ type: z.literal('leaving'), step: count }),
  /** Said again after the `start` of each generation that begins at the last step. */
  z.strictObject({ type: z.literal('finished'), step: count, weightsSha256: text }),
  z.strictObject({ type: z.literal('failed'), failure: failureSchema }),
  /** Said just before it happens. `step`: committed. */
  z.strictObject({ type: z.literal('injected'), fault: workerFaultSchema, step: count }),
  z.strictObject({
    type: z.literal('read-rows'),
    request: count,
    split: z.enum(['train', 'validation']),
    indices: z.array(count),
  }),
  ...fileQuestionSchemas,
]);
export type FromWorker = z.output<typeof fromWorkerSchema>;

const generationSchema = z.strictObject({
  type: z.literal('generation'),
  generation: z.int().positive(),
  /** Steps committed when it begins. */
  step: count,
  /** The checkpoint that all read where nobody holds the state of `step`; null: the job's first weights. */
  resumeFrom: text.nullable(),
  /** By rank. */
  workers: z.array(rosterEntrySchema),
});
export type Generation = Omit<z.output<typeof generationSchema>, 'type'>;

/** What the coordinator has decided for the run, and each worker follows. */
export const runPlanSchema = z.strictObject({
  runId: text,
  /** Of this coordinator: each start of one has a higher number. */
  term: z.int().positive(),
  runDir: text,
  /** What `journal.json` there says of its owner, for whoever sees the folder; null: all do. */
  runDirMark: text.nullable(),
  jobPath: text,
  overrides: z.array(text),
  slots: z.int().positive(),
  threads: z.int().positive(),
  /** Optimizer steps of the whole run at most; null: until the last epoch ends. */
  steps: z.int().positive().nullable(),
  /** A checkpoint to go on from. */
  resumeFrom: text.nullable(),
  /** Null where each worker opens the data itself. */
  served: z.strictObject({ trainRows: count, validationRows: count.nullable(), facts: factsSchema }).nullable(),
  heartbeatMs: z.int().positive(),
});
export type RunPlan = z.output<typeof runPlanSchema>;

export const fromCoordinatorSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('welcome'), plan: runPlanSchema }),
  generationSchema,
  /** The next generation is being made, under this number: nothing older is committed any more. */
  z.strictObject({ type: z.literal('halt'), generation: z.int().positive() }),
  /** Before a start, and of a run with --chaos only: faults that are still to come, each for who has its rank then. */
  z.strictObject({ type: z.literal('faults'), faults: z.array(workerFaultSchema) }),
  /**
   * `inMemory`: all prefer to reduce in one another's memory, so no frames are sent. Of what the coordinator has: `told`, steps whose
   * records, and `validated`, steps after which the last validation was.
   */
  z.strictObject({
    type: z.literal('start'),
    generation: z.int().positive(),
    inMemory: z.boolean(),
    told: count,
    validated: count,
  }),
  /** Answers each heartbeat: so many of the messages that have to arrive (outbox.ts) came on this connection, and are kept. */
  z.strictObject({ type: z.literal('heard'), count }),
  z.strictObject({ type: z.literal('drain') }),
  z.strictObject({ type: z.literal('stop-after'), step: count }),
  z.strictObject({ type: z.literal('goodbye') }),
  z.strictObject({ type: z.literal('abort'), failure: failureSchema }),
  z.strictObject({ type: z.literal('rows'), request: count, x: columnSchema, y: columnSchema }),
  /**
   * The size of the whole file, and the bytes that were asked for, fewer where it ends before. Of one that was to be kept: 0 where it was
   * not, since a later checkpoint lies there.
   */
  z.strictObject({
    type: z.literal('file'),
    request: count,
    size: count,
    bytes: bytesSchema,
    failure: failureSchema.nullable(),
  }),
]);
export type FromCoordinator = z.output<typeof fromCoordinatorSchema>;
export type FileAnswer = Extract<FromCoordinator, { type: 'file' }>;

/** What a connection may open with, once the token is proved. */
export const openingSchema = z.discriminatedUnion('type', [
  helloSchema,
  z.strictObject({ type: z.literal('watch') }),
  /** The run is to have so many workers. */
  z.strictObject({ type: z.literal('scale'), numWorkers: z.int().positive() }),
]);

/** What `lockstep scale` is told: what the run wanted before, or why not. */
export const scaleAnswerSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('scaled'), numBefore: count }),
  z.strictObject({ type: z.literal('abort'), failure: failureSchema }),
]);

export const workerStatusSchema = z.strictObject({
  workerId: text,
  rank: count.nullable(),
  host: text,
  pid: count,
  device: text,
  slots: z.tuple([count, count]).nullable(),
  step: count,
  state: text,
  waiting: text.nullable(),
  /** It is slower than the others, so many times, most of all in this phase; null: it is not. */
  straggler: z.strictObject({ factor: z.number(), phase: z.enum(['data', 'compute']) }).nullable(),
});

/** What `lockstep status` shows. */
export const statusSchema = z.strictObject({
  type: z.literal('status'),
  runId: text,
  name: text,
  state: text,
  step: count,
  totalSteps: count.nullable(),
  epoch: count,
  generation: count,
  loss: measurement.nullable(),
  checkpoint: text.nullable(),
  reason: text.nullable(),
  workers: z.array(workerStatusSchema),
});
export type Status = z.output<typeof statusSchema>;
