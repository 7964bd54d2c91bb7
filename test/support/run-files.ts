/** What a run leaves in its files, for tests that compare runs. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

const summarySchema = z.object({
  runId: z.string(),
  ok: z.boolean(),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  steps: z.int(),
  epochs: z.int(),
  samplesSeen: z.int(),
  skippedSteps: z.int(),
  workers: z.int(),
  slots: z.int().nullable(),
  generations: z.int(),
  finalLoss: z.number().nullable(),
  metrics: z.record(z.string(), z.number()),
  wallSeconds: z.number(),
  samplesPerSecond: z.number().nullable(),
  stepTime: z.record(z.string(), z.number()).nullable(),
  compiled: z.boolean(),
  engine: z.string().nullable(),
  weightsSha256: z.string().nullable(),
  checkpoint: z.string().nullable(),
  recoveries: z.array(z.unknown()),
  stragglers: z.array(z.unknown()),
  injected: z.array(z.object({ fault: z.string(), workerId: z.string().nullable(), step: z.int() })),
});
export type SummaryFile = z.output<typeof summarySchema>;

/** A summary has just these fields: docs/operations.md. */
export function readSummary(path: string): SummaryFile {
  return z.strictObject(summarySchema.shape).parse(JSON.parse(readFileSync(path, 'utf8')));
}

const metricsLineSchema = z.object({
  step: z.int(),
  epoch: z.int(),
  loss: z.number().optional(),
  metrics: z.record(z.string(), z.number()),
});
export type MetricsLine = z.output<typeof metricsLineSchema>;

/** A line for each step and each validation, in the order of their steps. */
export function readMetrics(runDir: string): MetricsLine[] {
  const lines = readFileSync(join(runDir, 'metrics.jsonl'), 'utf8').split('\n').filter(Boolean);
  const parsed = lines.map((line) => metricsLineSchema.parse(JSON.parse(line)));
  return parsed.toSorted((a, b) => a.step - b.step || Number(a.loss === undefined) - Number(b.loss === undefined));
}

/** Names of the files in a run's checkpoint folder, whatever they are; none where there is no folder. */
export function checkpointFiles(runDir: string): string[] {
  try {
    return readdirSync(join(runDir, 'checkpoints')).toSorted();
  } catch {
    return [];
  }
}

/** The float32 tensors of a safetensors file (https://github.com/huggingface/safetensors#format), by name. */
export function readTensors(path: string): Map<string, Float32Array> {
  const bytes = readFileSync(path);
  const dataStart = 8 + Number(bytes.readBigUInt64LE(0));
  const { __metadata__: _facts, ...tensors } = z
    .record(z.string(), z.looseObject({ data_offsets: z.tuple([z.int(), z.int()]).optional() }))
    .parse(JSON.parse(bytes.toString('utf8', 8, dataStart)));
  const numbers = ([start, end]: readonly [number, number]): Float32Array =>
    new Float32Array(Uint8Array.from(bytes.subarray(dataStart + start, dataStart + end)).buffer);
  return new Map(Object.entries(tensors).map(([name, { data_offsets }]) => [name, numbers(data_offsets ?? [0, 0])]));
}

const tfjsModelSchema = z.object({
  weightsManifest: z.array(z.object({ weights: z.array(z.object({ name: z.string(), shape: z.array(z.int()) })) })),
});

/** The float32 weights of a `model.json` with one `weights.bin`, by name. */
export function readTfjsWeights(folder: string): Map<string, Float32Array> {
  const { weightsManifest } = tfjsModelSchema.parse(JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8')));
  const values = new Float32Array(Uint8Array.from(readFileSync(join(folder, 'weights.bin'))).buffer);
  let at = 0;
  return new Map(
    weightsManifest
      .flatMap(({ weights }) => weights)
      .map(({ name, shape }) => {
        const size = shape.reduce((product, extent) => product * extent, 1);
        return [name, values.slice(at, (at += size))];
      }),
  );
}
