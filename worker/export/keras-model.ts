/** A LayersModel as a `.keras` file of Keras 3: a zip archive of its config, and of its weights in HDF5. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import type { LayersModel } from '@tensorflow/tfjs';
import type { Group } from 'h5wasm/node';
import { ZipFile } from 'yazl';
import { assert, LockstepError } from '../../src/errors.js';
import type { Log } from '../../src/log.js';
import { loadHdf5, type Library } from '../models/keras/hdf5-file.js';
import { kerasConfigOf } from '../models/keras/keras-config.js';
import { groupsOf } from '../models/keras/weight-places.js';
import { unitsOf } from '../models/layers/layer-units.js';
import { originOf, topologyOf } from '../models/layers/saved-model.js';
import { savedObject, type JsonObject } from '../models/layers/saved-object.js';
import { writeError, writeFileWhole } from './exported-file.js';

/** The version whose format this is. */
const kerasVersion = '3.15.1';

/** @throws LockstepError ERR_MODEL_INVALID with all that Keras computes otherwise; ERR_EXPORT_WRITE */
export async function exportKeras(model: LayersModel, path: string, log: Log): Promise<void> {
  const config = originOf(model)?.kerasConfig ?? translated(topologyOf(model));
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-export-'));
  try {
    const weights = join(folder, 'model.weights.h5');
    await writeWeights(model, config, weights);
    await writeFileWhole(path, archive({ config, weights }), log);
  } catch (thrown) {
    throw writeError(path, thrown);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function translated(topology: JsonObject): JsonObject {
  const { config, problems } = kerasConfigOf(topology);
  if (problems.length === 0) return config;
  throw new LockstepError('ERR_MODEL_INVALID', `The model cannot be one of Keras: ${problems.join('; ')}.`, {
    details: { problems },
  });
}

async function writeWeights(model: LayersModel, config: JsonObject, path: string): Promise<void> {
  const saved = savedObject(config);
  const groups = saved ? groupsOf(saved) : new Map<string, readonly string[]>();
  const library = await loadHdf5();
  const file = new library.File(path, 'w');
  const groupAt = (group: string): Group => groupIn(library, file, group);
  try {
    for (const { path: layer, parts } of unitsOf(model)) {
      for (const [index, part] of parts.entries()) {
        const group = groups.get(layer)?.[index];
        assert(group !== undefined || part.length === 0, `the weights of ${layer} have no place in a .keras file`);
        for (const [position, { variable, shape }] of part.entries()) {
          const data = variable.read().dataSync<'float32'>();
          groupAt(group ?? '').create_dataset({ name: String(position), data, shape: [...shape], dtype: '<f' });
        }
      }
    }
  } finally {
    file.close();
  }
}

/** The group, made with those around it where it is not there. */
function groupIn({ Group }: Library, file: Group, path: string): Group {
  return path.split('/').reduce((group, name) => {
    const found = group.keys().includes(name) ? group.get(name) : null;
    return found instanceof Group ? found : group.create_group(name);
  }, file);
}

interface Members {
  readonly config: JsonObject;
  /** Path of the HDF5 file. */
  readonly weights: string;
}

async function* archive({ config, weights }: Members): AsyncGenerator<Buffer> {
  const zip = new ZipFile();
  const metadata = { keras_version: kerasVersion, date_saved: new Date().toISOString().slice(0, 19).replace('T', '@') };
  const bytes = zip.outputStream.pipe(new PassThrough());
  zip.once('error', (error: Error) => bytes.destroy(error)); // a member that cannot be read
  zip.addBuffer(Buffer.from(JSON.stringify(metadata)), 'metadata.json', { compress: false });
  zip.addBuffer(Buffer.from(JSON.stringify(config)), 'config.json', { compress: false });
  zip.addFile(weights, 'model.weights.h5', { compress: false });
  zip.end();
  for await (const piece of bytes) yield piece as Buffer; // a stream without an encoding
}
