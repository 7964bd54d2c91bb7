/**
 * What a checkpoint says about itself: enough to continue the run with the same bits, or to say what differs. It lies in
 * the `__metadata__` of a safetensors file, whose values are strings: a string as it is, all else as JSON. See
 * docs/checkpoint-format.md.
 */
import { z } from 'zod';
import { LockstepError } from '../errors.js';
import type { SamplerConfig } from '../job/sampler.js';
import { optimizerSchema } from '../optimizer/config.js';
import { AVERAGE, type MomentRegion } from '../optimizer/optimizer.js';
import { numberSchema, toJson } from './json-numbers.js';
import { MOMENT_PREFIX } from './layout.js';
import type { NameMap } from './name-map.js';

export const CHECKPOINT_FORMAT = 'lockstep-checkpoint-2';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hexadecimal digits');

const samplerSchema = z.strictObject({
  rows: z.int().positive(),
  batchSize: z.int().positive(),
  slots: z.int().positive(),
  seed: z.int().min(0).max(0xffff_ffff),
  shuffle: z.boolean(),
  lastBatch: z.enum(['drop', 'keep']),
}) satisfies z.ZodType<SamplerConfig>;

export const checkpointSchema = z.strictObject({
  format: z.literal(CHECKPOINT_FORMAT),
  runId: z.string().min(1),
  /** Optimizer steps taken; also the number of the next step, counted from 0. */
  step: z.int().min(0),
  /** Where the next step lies in the data, counted from 0. */
  position: z.strictObject({ epoch: z.int().min(0), stepInEpoch: z.int().min(0) }),
  sampler: samplerSchema,
  /** The job's plain data. */
  job: z.record(z.string(), z.json()),
  optimizer: optimizerSchema,
  /** What validations have come to, where the job's `best` may end the run (worker/validations.ts). */
  validations: z
    .strictObject({ metric: z.string(), value: numberSchema, best: numberSchema, count: z.int().min(0) })
    .optional(),
  /** Build of the engine that computed the gradients. */
  engine: z.string(),
  lockstepVersion: z.string(),
  /** Names the weights: equal in every run that has the same. */
  weightsSha256: sha256,
  /** Of each tensor, in the order of the file (src/kernels/checksum.ts). */
  tensorChecksums: z.array(z.string().regex(/^[0-9a-f]{8}$/, 'expected 8 hexadecimal digits')),
  /** Of the header itself, with zeros in this place. */
  headerSha256: sha256,
});

export type Checkpoint = z.output<typeof checkpointSchema>;

/** What whoever writes a checkpoint knows; the writer adds the rest. */
export type CheckpointFacts = Omit<Checkpoint, 'format' | 'weightsSha256' | 'tensorChecksums' | 'headerSha256'>;

/** Name of a parameter's moment in a checkpoint. */
export function momentName(region: MomentRegion, parameter: string): string {
  return `${MOMENT_PREFIX}${region}/${parameter}`;
}

/**
 * Which tensors of a checkpoint are the weights that its run validates: the moving average of a parameter where there is one, under
 * the parameter's name, else the parameter. What is left out are the weights behind an average, and moments.
 *
 * @param tensorNames all of the file's; those of a file of another tool stay as they are
 */
export function validatedWeights(tensorNames: readonly string[]): NameMap {
  const prefix = momentName(AVERAGE, '');
  const averageOf = (name: string): string | null => (name.startsWith(prefix) ? name.slice(prefix.length) : null);
  const averaged = new Set(tensorNames.map(averageOf));
  return (name) => averageOf(name) ?? (name.startsWith(MOMENT_PREFIX) || averaged.has(name) ? null : name);
}

/** As safetensors' metadata. */
export function encodeCheckpoint(checkpoint: Checkpoint): Record<string, string> {
  return Object.fromEntries(
    Object.entries(checkpoint).map(([key, value]) => [key, typeof value === 'string' ? value : toJson(value)]),
  );
}

/**
 * From safetensors' metadata.
 *
 * @param source the file's name, for messages
 * @throws LockstepError ERR_CHECKPOINT_INVALID
 */
export function parseCheckpoint(metadata: Readonly<Record<string, string>>, source: string): Checkpoint {
  if (metadata.format !== CHECKPOINT_FORMAT) {
    const found = metadata.format === undefined ? 'says no format' : `says its format is "${metadata.format}"`;
    const next = 'Resume from a checkpoint of this version of Lockstep, or load the file as initialWeights.';
    throw invalid(`${source} ${found}, expected "${CHECKPOINT_FORMAT}". ${next}`, source);
  }
  const parsed = checkpointSchema.safeParse(
    Object.fromEntries(Object.entries(metadata).map(([key, text]) => [key, decode(key, text, source)])),
  );
  if (parsed.success) return parsed.data;
  throw invalid(`${source} is not a valid checkpoint: ${z.prettifyError(parsed.error).replaceAll('\n', ' ')}`, source);
}

const stringKeys: ReadonlySet<string> = new Set(
  Object.entries(checkpointSchema.shape).flatMap(([key, schema]) =>
    schema instanceof z.ZodString || schema instanceof z.ZodLiteral ? [key] : [],
  ),
);

function decode(key: string, text: string, source: string): unknown {
  if (stringKeys.has(key)) return text;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalid(`${source} is not a valid checkpoint: its "${key}" is not JSON`, source, cause);
  }
}

function invalid(message: string, source: string, cause?: unknown): LockstepError {
  return new LockstepError('ERR_CHECKPOINT_INVALID', message, { cause, details: { source } });
}
