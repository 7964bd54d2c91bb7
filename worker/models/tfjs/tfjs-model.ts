/** Models that TensorFlow.js or its converter saved, for job files: `model.json` with the files of its weights beside it. */
import { readFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import type { LayersModel, Tensor } from '@tensorflow/tfjs';
import { z } from 'zod';
import { LockstepError } from '../../../src/errors.js';
import type { ModelContext } from '../../../src/job/job.js';
import type { NameMap } from '../../../src/state/name-map.js';
import { sizeOf } from '../../../src/state/parameter.js';
import type { StoredTensor } from '../../../src/state/safetensors.js';
import { tf } from '../../compute/tf.js';
import type { LayerUnit } from '../layers/layer-units.js';
import { knownClasses, makeSavedModel } from '../layers/saved-model.js';
import { isObject, savedObject, type JsonObject } from '../layers/saved-object.js';
import { unknownLayers } from '../layers/unknown-layers.js';

const bytesOf = { float32: 4, int32: 4, bool: 1 } as const;
const bytesOfQuantized = { uint8: 1, uint16: 2, float16: 2 } as const;
const dtypes = { float32: 'F32', int32: 'I32', bool: 'BOOL' } as const satisfies Record<string, StoredTensor['dtype']>;

const quantizationSchema = z.object({
  dtype: z.enum(['uint8', 'uint16', 'float16']),
  scale: z.number().optional(),
  min: z.number().optional(),
});

const weightSchema = z.object({
  name: z.string(),
  shape: z.array(z.int().min(0)),
  dtype: z.enum(['float32', 'int32', 'bool']),
  quantization: quantizationSchema.optional(),
});

const modelSchema = z.object({
  format: z.string().default('layers-model'),
  modelTopology: z.record(z.string(), z.json()),
  weightsManifest: z.array(z.object({ paths: z.array(z.string()), weights: z.array(weightSchema) })),
});

type WeightSpec = z.output<typeof weightSchema>;

/**
 * A model function for `defineJob`: topology and weights as `model.save(…)` of TensorFlow.js writes them.
 *
 * @param path of a `model.json`, relative to the job file
 * @example model: tfjsModel('pretrained/model.json')
 */
export function tfjsModel(path: string): (context: ModelContext) => Promise<LayersModel> {
  return async ({ baseDir }) => {
    const source = resolve(baseDir, path);
    const { modelTopology, weightsManifest } = await readModel(source);
    const topology = topologyOf(modelTopology);
    refuseUnknown(topology, source);
    const decoded: Record<string, Tensor> = {};
    try {
      for (const { paths, weights } of weightsManifest) {
        Object.assign(decoded, await readGroup(source, paths, weights));
      }
      const specs = weightsManifest.flatMap(({ weights }) => weights);
      return await makeSavedModel({
        source,
        topology,
        tensors: specs.map(({ name, shape, dtype }) => ({ name, shape, dtype: dtypes[dtype] })),
        nameOf: namesAsLoaded,
        read: ({ name }) => decoded[name]?.dataSync<'float32'>() ?? new Float32Array(),
      });
    } finally {
      tf.dispose(decoded);
    }
  };
}

async function readModel(path: string): Promise<z.output<typeof modelSchema>> {
  let content: unknown;
  try {
    content = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    const fault = cause instanceof Error ? cause.message : String(cause);
    throw invalid(path, `it cannot be read (${fault}); relative paths start at the job file's folder`, cause);
  }
  const parsed = modelSchema.safeParse(content);
  if (!parsed.success) throw invalid(path, z.prettifyError(parsed.error).replaceAll('\n', ' '));
  if (parsed.data.format === 'layers-model') return parsed.data;
  throw invalid(path, `its format is ${parsed.data.format}; expected layers-model, as a graph cannot be trained`);
}

/** Of a model that was converted from Keras, what Keras says of itself lies around the topology. */
function topologyOf({ model_config: config, ...topology }: JsonObject): JsonObject {
  return isObject(config) ? config : topology;
}

function refuseUnknown(topology: JsonObject, source: string): void {
  const model = savedObject(topology);
  const problems = model ? unknownLayers(model, knownClasses()) : ['its topology is no model'];
  if (problems.length > 0) throw invalid(source, problems.join('; '));
}

/** The tensors of some files, which go on from one to the next. */
async function readGroup(
  source: string,
  paths: readonly string[],
  weights: readonly WeightSpec[],
): Promise<Record<string, Tensor>> {
  const files = await Promise.all(paths.map((path) => readWeightFile(source, path)));
  const bytes = Buffer.concat(files);
  const expected = weights.reduce((sum, weight) => sum + numBytes(weight), 0);
  if (bytes.length !== expected) {
    const names = paths.join(', ');
    throw invalid(source, `${names} has ${bytes.length} bytes, and the manifest describes ${expected}; copy it again`);
  }
  const specs = weights.map(({ quantization, ...weight }) => ({ ...weight, ...(quantization && { quantization }) }));
  const data = new Uint8Array(bytes).buffer; // a pooled buffer has others' bytes around its own
  return tf.io.decodeWeights(data, specs as Parameters<typeof tf.io.decodeWeights>[1]); // checked by weightSchema
}

function numBytes({ shape, dtype, quantization }: WeightSpec): number {
  return sizeOf(shape) * (quantization ? bytesOfQuantized[quantization.dtype] : bytesOf[dtype]);
}

async function readWeightFile(source: string, path: string): Promise<Buffer> {
  const file = join(dirname(source), path);
  if (relative(dirname(source), file).startsWith('..')) {
    throw invalid(source, `its weights are in ${path}, which leads out of its folder`);
  }
  try {
    return await readFile(file);
  } catch (cause) {
    const fault = cause instanceof Error ? cause.message : String(cause);
    throw invalid(source, `its weights in ${path} cannot be read: ${fault}`, cause);
  }
}

/** Names of the file, or those without the name of a recurrent layer's cell, as tfjs-layers takes them. */
function namesAsLoaded(units: readonly LayerUnit[]): NameMap {
  const weights = units.flatMap(({ parts }) => parts.flat());
  const names = new Map(weights.map(({ name, variable }) => [variable.originalName, name]));
  return (saved) => {
    const tokens = saved.split('/');
    const withoutCell = [...tokens.slice(0, -2), ...tokens.slice(-1)].join('/');
    return names.get(saved) ?? names.get(withoutCell) ?? saved;
  };
}

function invalid(source: string, fault: string, cause?: unknown): LockstepError {
  return new LockstepError('ERR_MODEL_INVALID', `${source} is no model of TensorFlow.js that can be read: ${fault}.`, {
    cause,
    details: { source, fault },
  });
}
