/** Models that Keras saved, for job files: `.keras` files of Keras 3, and `.h5` files of Keras 2 and 3. */
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { LayersModel } from '@tensorflow/tfjs';
import { LockstepError } from '../../../src/errors.js';
import type { ModelContext } from '../../../src/job/job.js';
import type { NameMap } from '../../../src/state/name-map.js';
import type { LayerUnit } from '../layers/layer-units.js';
import { knownClasses, makeSavedModel, type SavedModel } from '../layers/saved-model.js';
import { KerasArchive } from './archive.js';
import { Hdf5File, isHdf5, type SavedTensor } from './hdf5-file.js';
import { savedObject, isContainer, type JsonObject, type SavedObject } from '../layers/saved-object.js';
import { translateModel } from './topology.js';
import { groupsOf, namesOfLayers } from './weight-places.js';

/**
 * A model function for `defineJob`: topology and weights of a model that Keras saved with `model.save(…)`.
 *
 * @param path of a `.keras` or `.h5` file, relative to the job file
 * @example model: kerasModel('model.keras')
 */
export function kerasModel(path: string): (context: ModelContext) => Promise<LayersModel> {
  return async ({ baseDir }) => {
    const file = resolve(baseDir, path);
    switch (await kindOf(file)) {
      case 'archive':
        return fromArchive(file);
      case 'hdf5':
        return fromHdf5(file);
    }
  };
}

/** @throws LockstepError ERR_MODEL_INVALID */
async function kindOf(path: string): Promise<'archive' | 'hdf5'> {
  try {
    if (await isHdf5(path)) return 'hdf5';
    if ((await firstBytes(path)) === 'PK') return 'archive';
  } catch (cause) {
    const fault = cause instanceof Error ? cause.message : String(cause);
    throw invalid(path, `it cannot be read (${fault}); relative paths start at the job file's folder`, cause);
  }
  throw invalid(path, 'it is neither a zip archive (.keras) nor HDF5 (.h5)');
}

async function firstBytes(path: string): Promise<string> {
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0);
  return buffer.toString('latin1', 0, bytesRead);
}

async function fromArchive(path: string): Promise<LayersModel> {
  await using archive = await KerasArchive.open(path);
  const { keras_version: version } = parseObject(await archive.text('metadata.json'), `${path}, metadata.json`);
  const major = majorOf(version);
  if (major < 3)
    throw invalid(path, `it is of Keras ${JSON.stringify(version ?? null)}; expected Keras 3, or an .h5 file`);
  const config = parseObject(await archive.text('config.json'), `${path}, config.json`);
  const model = modelIn(config, path);
  const topology = translate(model, { path, kerasMajor: major });
  using weights = await Hdf5File.open(await archive.unpack('model.weights.h5'), `${path}, model.weights.h5`);
  return await makeSavedModel({ source: path, topology, ...groupedWeights(model, weights) }, config);
}

async function fromHdf5(path: string): Promise<LayersModel> {
  using file = await Hdf5File.open(path, path);
  const text = file.text('/', 'model_config');
  if (text === null)
    throw invalid(path, 'it has weights only; expected a file of model.save(…), with the model itself');
  const model = modelIn(parseObject(text, `${path}, model_config`), path);
  const topology = translate(model, { path, kerasMajor: majorOf(file.text('/', 'keras_version')) });
  return await makeSavedModel({ source: path, topology, ...listedWeights(model, file) });
}

type Weights = Pick<SavedModel<SavedTensor>, 'tensors' | 'nameOf' | 'read'>;

/** Counts of calls, and what metrics and optimizers keep, are no weights of a layer. */
const weightPath = /^layers\/(?!.*\bseed_generator\/).*\bvars\/\d+$/;

function groupedWeights(model: SavedObject, file: Hdf5File): Weights {
  const groups = groupsOf(model);
  const paths = file.paths().filter((path) => weightPath.test(path));
  const nameOf = (units: readonly LayerUnit[]): NameMap => {
    const names = new Map<string, string>(
      units.flatMap(({ path, parts }) =>
        parts.flatMap((part, index) => {
          const group = groups.get(path)?.[index] ?? `the weights of ${path}`;
          return part.map(({ name }, position) => [`${group}/${position}`, name] as const);
        }),
      ),
    );
    return (path) => names.get(path) ?? path;
  };
  return { tensors: tensorsAt(file, paths), nameOf, read: (tensor) => file.read(tensor) };
}

function listedWeights(model: SavedObject, file: Hdf5File): Weights {
  const group = (layer: string): string => `model_weights/${layer}`;
  const namesIn = (layer: string): string[] =>
    file.texts(group(layer), 'weight_names').map((name) => `${group(layer)}/${name}`);
  const listed = namesOfLayers(model, namesIn);
  const paths = file.texts('model_weights', 'layer_names').flatMap(namesIn);
  const nameOf = (units: readonly LayerUnit[]): NameMap => {
    const names = new Map<string, string>(
      units.flatMap(({ path, parts }) =>
        parts
          .flat()
          .map(({ name }, position) => [listed.get(path)?.[position] ?? `${path} ${position}`, name] as const),
      ),
    );
    return (path) => names.get(path) ?? path;
  };
  return { tensors: tensorsAt(file, paths), nameOf, read: (tensor) => file.read(tensor) };
}

function tensorsAt(file: Hdf5File, paths: readonly string[]): SavedTensor[] {
  return paths.map((path) => file.tensor(path)).filter((tensor) => tensor !== null);
}

/** @throws LockstepError ERR_MODEL_INVALID with all that tfjs-layers lacks */
function translate(model: SavedObject, { path, kerasMajor }: { path: string; kerasMajor: number }): JsonObject {
  const { topology, problems } = translateModel(model, { kerasMajor, knownClasses: knownClasses() });
  if (problems.length === 0) return topology;
  throw new LockstepError(
    'ERR_MODEL_INVALID',
    `The model in ${path} has what the layers of TensorFlow.js cannot do: ${problems.join('; ')}.`,
    { details: { path, problems } },
  );
}

function modelIn(config: JsonObject, path: string): SavedObject {
  const model = savedObject(config);
  if (model && isContainer(model)) return model;
  const found = model ? `a model of the class ${model.className}` : 'no model';
  throw invalid(path, `it has ${found}; expected a Sequential or a functional one`);
}

function parseObject(text: string, source: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as JsonObject; // JSON
  } catch (cause) {
    throw invalid(source, 'it is not JSON', cause);
  }
  throw invalid(source, 'it is not an object of JSON');
}

function majorOf(version: unknown): number {
  return typeof version === 'string' ? Number.parseInt(version, 10) : 2;
}

function invalid(source: string, fault: string, cause?: unknown): LockstepError {
  return new LockstepError('ERR_MODEL_INVALID', `${source} is no model of Keras that can be read: ${fault}.`, {
    cause,
    details: { source, fault },
  });
}
