/** A LayersModel as TensorFlow.js saves it: `model.json`, and `weights.bin` beside it. */
import { join } from 'node:path';
import type { LayersModel } from '@tensorflow/tfjs';
import { LockstepError } from '../../src/errors.js';
import type { Log } from '../../src/log.js';
import { lockstepVersion } from '../../src/version.js';
import { unitsOf, type LayerVariable } from '../models/layers/layer-units.js';
import { topologyOf } from '../models/layers/saved-model.js';
import { asBytes, writeFileWhole } from './exported-file.js';

const weightsName = 'weights.bin';

/** The topology comes last: with it, all is there. */
export async function exportTfjs(model: LayersModel, folder: string, log: Log): Promise<void> {
  const weights = unitsOf(model)
    .flatMap(({ parts }) => parts.flat())
    .map(({ variable, shape }) => ({ name: variable.originalName, shape, variable }));
  refuseRepeated(weights.map(({ name }) => name));
  await writeFileWhole(join(folder, weightsName), valuesOf(weights), log);
  const specs = weights.map(({ name, shape }) => ({ name, shape, dtype: 'float32' }));
  const content = {
    format: 'layers-model',
    generatedBy: `Lockstep ${lockstepVersion}`,
    convertedBy: null,
    modelTopology: topologyOf(model),
    weightsManifest: [{ paths: [weightsName], weights: specs }],
  };
  await writeFileWhole(join(folder, 'model.json'), [Buffer.from(JSON.stringify(content))], log);
}

function* valuesOf(weights: readonly { readonly variable: LayerVariable }[]): Generator<Uint8Array> {
  for (const { variable } of weights) yield asBytes(variable.read().dataSync<'float32'>());
}

function refuseRepeated(names: readonly string[]): void {
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated === undefined) return;
  const message = `Two weights of the model are named "${repeated}", which TensorFlow.js cannot load. Give each layer a name of its own.`;
  throw new LockstepError('ERR_MODEL_INVALID', message, { details: { name: repeated } });
}
