/** Models of Keras against Keras, on whichever engine this machine has, and there and back again: test/golden/keras/README.md. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LayersModel, Sequential } from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadEngine } from '../../worker/compute/engine/load.js';
import { requireTfjs, type Tfjs } from '../../worker/compute/engine/tfjs.js';
import { exportKeras } from '../../worker/export/keras-model.js';
import { exportTfjs } from '../../worker/export/tfjs-model.js';
import { KerasArchive } from '../../worker/models/keras/archive.js';
import { kerasModel } from '../../worker/models/keras/keras-model.js';
import { disposeModel } from '../../worker/models/layers/layer-units.js';
import { tfjsModel } from '../../worker/models/tfjs/tfjs-model.js';
import {
  differenceFromKeras,
  goldenFolder,
  goldenNames,
  goldenOf,
  outputOf,
  weightsOf,
} from '../support/keras-golden.js';
import { silentLog } from '../unit/compute/toy.js';

/** Issue 5, "What must hold". */
const tolerance = 1e-5;

let tf: Tfjs;
let folder: string;
beforeAll(async () => {
  ({ tf } = await loadEngine({ threads: 1, device: 'cpu', log: silentLog }));
  folder = await mkdtemp(join(tmpdir(), 'lockstep-keras-golden-'));
});
afterAll(() => rm(folder, { recursive: true }));

const golden = (name: string): Promise<LayersModel> => kerasModel(name)({ baseDir: goldenFolder });

describe.each(goldenNames)('the model "%s"', (name) => {
  it.each(['keras', 'h5'])('computes from its .%s file what Keras computes', async (extension) => {
    const model = await golden(`${name}.${extension}`);
    expect(differenceFromKeras(model, name)).toBeLessThan(tolerance);
    disposeModel(model);
  });

  it('has the same weights in both', async () => {
    const [first, second] = [await golden(`${name}.keras`), await golden(`${name}.h5`)];
    expect(weightsOf(second)).toEqual(weightsOf(first));
    [first, second].forEach(disposeModel);
  });

  it('is the same bit for bit when it was written as a .keras file and read again', async () => {
    const model = await golden(`${name}.keras`);
    await exportKeras(model, join(folder, `${name}.keras`), silentLog);
    const again = await kerasModel(`${name}.keras`)({ baseDir: folder });
    expect(weightsOf(again)).toEqual(weightsOf(model));
    [model, again].forEach(disposeModel);
  });

  it('is the same bit for bit when it was written for TensorFlow.js, read here or by TensorFlow.js itself', async () => {
    const model = await golden(`${name}.h5`);
    await exportTfjs(model, join(folder, name), silentLog);
    const again = await tfjsModel(`${name}/model.json`)({ baseDir: folder });
    const stock = await loadByTfjs(join(folder, name));
    const { x } = goldenOf(name);
    for (const one of [again, stock]) {
      expect(weightsOf(one)).toEqual(weightsOf(model));
      expect(outputOf(one, x)).toEqual(outputOf(model, x));
    }
    [model, again, stock].forEach(disposeModel);
  });
});

describe('a model that was made in code', () => {
  const make = (): LayersModel => {
    const input = tf.input({ shape: [4], name: 'in' });
    const layer = (name: string) => tf.layers.dense({ name, units: 4, activation: 'tanh' });
    const inner = tf.sequential({ name: 'inner', layers: [tf.layers.dense({ name: 'a', units: 4, inputShape: [4] })] });
    const hidden = inner.apply(layer('b').apply(input));
    return tf.model({ inputs: input, outputs: layer('c').apply(hidden) as typeof input }); // symbolic in, symbolic out
  };
  const x = { shape: [2, 4], dtype: 'float32', values: [1, 2, 3, 4, -1, -2, -3, -4] } as const;

  it('is read as it was written, with a sequential model inside', async () => {
    const model = make();
    await exportTfjs(model, join(folder, 'made'), silentLog);
    await exportKeras(model, join(folder, 'made.keras'), silentLog);
    const again = [
      await loadByTfjs(join(folder, 'made')),
      await tfjsModel('made/model.json')({ baseDir: folder }),
      await kerasModel('made.keras')({ baseDir: folder }),
    ];
    const given = { ...x, shape: [...x.shape], values: [...x.values] };
    for (const one of again) expect(outputOf(one, given)).toEqual(outputOf(model, given));
    [model, ...again].forEach(disposeModel);
  });

  it('is refused where Keras would compute something else', async () => {
    const gru = tf.layers.gru({ name: 'memory', units: 2, inputShape: [3, 1] });
    const model = tf.sequential({ layers: [gru] });
    await expect(exportKeras(model, join(folder, 'refused.keras'), silentLog)).rejects.toMatchObject({
      code: 'ERR_MODEL_INVALID',
      message: expect.stringContaining('"memory" (GRU): its recurrent_activation is hard_sigmoid') as string,
    });
    disposeModel(model);
  });
});

describe('a model that was read, and changed in the job', () => {
  const name = 'sequential';

  /** Its last layer for another one. */
  async function changed(): Promise<Sequential> {
    const model = await golden(`${name}.keras`);
    if (!(model instanceof tf.Sequential)) throw new Error(`${name}.keras has no sequential model`);
    const last = model.layers.at(-1);
    model.pop();
    for (const weight of last?.weights ?? []) weight.read().dispose(); // no longer the model's
    model.add(tf.layers.dense({ name: 'head', units: 2, activation: 'softmax', biasInitializer: 'randomNormal' }));
    return model;
  }

  it('is written as it is now', async () => {
    const model = await changed();
    await exportTfjs(model, join(folder, 'changed'), silentLog);
    await exportKeras(model, join(folder, 'changed.keras'), silentLog);
    const { x } = goldenOf(name);
    expect(outputOf(model, x).shape).toEqual([x.shape[0], 2]);
    for (const make of [tfjsModel('changed/model.json'), kerasModel('changed.keras')]) {
      const again = await make({ baseDir: folder });
      expect(outputOf(again, x)).toEqual(outputOf(model, x));
      disposeModel(again);
    }
    disposeModel(model);
  });

  it('is written with the config that it had where it is only trained otherwise', async () => {
    const model = await golden(`${name}.keras`);
    for (const layer of model.layers) layer.trainable = false;
    await exportKeras(model, join(folder, 'frozen.keras'), silentLog);
    disposeModel(model);
    const configs = [join(goldenFolder, `${name}.keras`), join(folder, 'frozen.keras')].map(async (path) => {
      await using archive = await KerasArchive.open(path);
      return await archive.text('config.json');
    });
    const [before = '', after = 'none'] = await Promise.all(configs);
    expect(JSON.parse(after)).toEqual(JSON.parse(before));
  });
});

/** As a user of TensorFlow.js does it, whose `file://` takes the same two steps. */
async function loadByTfjs(from: string): Promise<LayersModel> {
  const { modelTopology, weightsManifest } = JSON.parse(await readFile(join(from, 'model.json'), 'utf8')) as {
    modelTopology: object;
    weightsManifest: { paths: string[]; weights: never[] }[];
  };
  const weightSpecs = weightsManifest.flatMap(({ weights }) => weights);
  const weightData = new Uint8Array(await readFile(join(from, weightsManifest[0]?.paths[0] ?? ''))).buffer;
  return requireTfjs().loadLayersModel({ load: async () => ({ modelTopology, weightSpecs, weightData }) });
}
