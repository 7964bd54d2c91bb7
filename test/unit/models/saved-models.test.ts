/** Files of models that are damaged, or of another model: one line each, with all that is wrong in it. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ZipFile } from 'yazl';
import { exportTfjs } from '../../../worker/export/tfjs-model.js';
import { KerasArchive } from '../../../worker/models/keras/archive.js';
import { kerasModel } from '../../../worker/models/keras/keras-model.js';
import { disposeModel } from '../../../worker/models/layers/layer-units.js';
import { tfjsModel } from '../../../worker/models/tfjs/tfjs-model.js';
import { goldenFolder } from '../../support/keras-golden.js';
import { silentLog, tf } from '../compute/toy.js';

async function emptyFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-saved-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

/** What is said of the file; "it was made" where nothing is. */
async function refusal(path: string): Promise<{ code: string; message: string }> {
  const make = path.endsWith('.json') ? tfjsModel(path) : kerasModel(path);
  try {
    disposeModel(await make({ baseDir: '/' }));
  } catch (error) {
    return error as { code: string; message: string }; // what a model function throws
  }
  return { code: 'none', message: 'it was made' };
}

type Members = Record<string, string | Buffer>;

async function membersOf(name: string): Promise<Members> {
  await using archive = await KerasArchive.open(join(goldenFolder, name));
  return {
    'metadata.json': await archive.text('metadata.json'),
    'config.json': await archive.text('config.json'),
    'model.weights.h5': await readFile(await archive.unpack('model.weights.h5')),
  };
}

async function zipOf(members: Members): Promise<Buffer> {
  const zip = new ZipFile();
  for (const [name, content] of Object.entries(members)) zip.addBuffer(Buffer.from(content), name, { compress: false });
  zip.end();
  return buffer(zip.outputStream);
}

/** A model of the golden folder with other members, refused. */
async function refusedWith(change: (members: Members) => Members): Promise<{ code: string; message: string }> {
  const path = join(await emptyFolder(), 'changed.keras');
  await writeFile(path, await zipOf(change(await membersOf('sequential.keras'))));
  return refusal(path);
}

const inConfig = (from: string | RegExp, to: string) => (members: Members) => ({
  ...members,
  'config.json': String(members['config.json']).replace(from, to),
});

describe('a .keras file', () => {
  it('with a name that leads out of it is refused', async () => {
    const path = join(await emptyFolder(), 'evil.keras');
    const zip = await zipOf({ ...(await membersOf('sequential.keras')), 'aa/bb/evil.txt': 'x' });
    await writeFile(path, Buffer.from(zip.toString('latin1').replaceAll('aa/bb/evil.txt', '../../evil.txt'), 'latin1'));
    const { code, message } = await refusal(path);
    expect(code).toBe('ERR_MODEL_INVALID');
    expect(message).toMatch(/evil\.keras is not a whole \.keras file: .*\.\.\/\.\.\/evil\.txt/);
  });

  it('that is cut off is refused', async () => {
    const path = join(await emptyFolder(), 'short.keras');
    await writeFile(path, (await zipOf(await membersOf('sequential.keras'))).subarray(0, 3000));
    expect(await refusal(path)).toMatchObject({
      code: 'ERR_MODEL_INVALID',
      message: expect.stringContaining('not a whole .keras') as string,
    });
  });

  it('without weights is refused', async () => {
    const { message } = await refusedWith(({ 'model.weights.h5': _, ...others }) => others);
    expect(message).toContain('it has no model.weights.h5');
  });

  it('whose weights are no HDF5 file is refused', async () => {
    const { message } = await refusedWith((members) => ({ ...members, 'model.weights.h5': 'no weights' }));
    expect(message).toContain('model.weights.h5 is not a whole HDF5 file: it does not begin as HDF5 does');
  });

  it('whose weights are cut off is refused with the reason of the HDF5 library', async () => {
    const { message } = await refusedWith((members) => ({
      ...members,
      'model.weights.h5': Buffer.from(members['model.weights.h5'] ?? '').subarray(0, 4000),
    }));
    expect(message).toMatch(/model\.weights\.h5 is not a whole HDF5 file: truncated file/);
  });

  it('of another model than its weights has all that differs listed', async () => {
    const { code, message } = await refusedWith(inConfig('"units": 5', '"units": 4'));
    expect(code).toBe('ERR_MODEL_INVALID');
    expect(message).toContain('"layers/dense/vars/0" is [6, 5] in the file and [6, 4] in the model');
    expect(message).toContain('"layers/dense/vars/1" is [5] in the file and [4] in the model');
    expect(message).toContain('"layers/batch_normalization/vars/3" is [5] in the file and [4] in the model');
    expect(message).toContain('"layers/dense_1/vars/0" is [5, 3] in the file and [4, 3] in the model');
  });

  it('with weights that the model has no place for, or lacks, names them', async () => {
    const without = await refusedWith(inConfig('"use_bias": true', '"use_bias": false'));
    expect(without.message).toContain('the model has no place for "layers/dense/vars/1"');
    const centered = await refusedWith(inConfig('"center": true', '"center": false'));
    expect(centered.message).toContain('the model has no place for "layers/batch_normalization/vars/3"');
  });

  it('of Keras 2 is refused with a hint', async () => {
    const { message } = await refusedWith((members) => ({
      ...members,
      'metadata.json': '{"keras_version": "2.14.0"}',
    }));
    expect(message).toContain('it is of Keras "2.14.0"; expected Keras 3, or an .h5 file');
  });

  it('of a class of the user is refused with its name', async () => {
    const { message } = await refusedWith(inConfig('"class_name": "Sequential"', '"class_name": "MyModel"'));
    expect(message).toContain('it has a model of the class MyModel; expected a Sequential or a functional one');
  });

  it('with a layer that TensorFlow.js lacks names it with its place', async () => {
    const { message } = await refusedWith(
      inConfig('"class_name": "BatchNormalization"', '"class_name": "GroupNormalization"'),
    );
    expect(message).toMatch(
      /"batch_normalization" \(GroupNormalization, layer 4 of 5\): TensorFlow\.js has no such layer/,
    );
  });
});

describe('an .h5 file', () => {
  it('that is none is refused', async () => {
    const path = join(await emptyFolder(), 'model.h5');
    await writeFile(path, 'not HDF5');
    expect(await refusal(path)).toMatchObject({
      code: 'ERR_MODEL_INVALID',
      message: expect.stringContaining('it is neither a zip archive (.keras) nor HDF5 (.h5)') as string,
    });
  });

  it('that is cut off is refused', async () => {
    const path = join(await emptyFolder(), 'short.h5');
    await writeFile(path, (await readFile(join(goldenFolder, 'sequential.h5'))).subarray(0, 5000));
    expect((await refusal(path)).message).toMatch(/short\.h5 is not a whole HDF5 file: truncated file/);
  });

  it('with weights only is refused with a hint', async () => {
    await using archive = await KerasArchive.open(join(goldenFolder, 'sequential.keras'));
    const path = join(await emptyFolder(), 'weights.h5');
    await cp(await archive.unpack('model.weights.h5'), path);
    expect((await refusal(path)).message).toContain('it has weights only; expected a file of model.save(…)');
  });

  it('that is not there is refused with its path', async () => {
    expect((await refusal('/nowhere/model.h5')).message).toContain('/nowhere/model.h5');
  });
});

describe('a model.json', () => {
  async function savedModel(change: (json: string) => string = (json) => json): Promise<string> {
    const folder = await emptyFolder();
    const first = tf.layers.dense({ name: 'a', units: 3, inputShape: [2] });
    const model = tf.sequential({ layers: [first, tf.layers.dense({ name: 'b', units: 2 })] });
    await exportTfjs(model, folder, silentLog);
    model.dispose();
    const path = join(folder, 'model.json');
    await writeFile(path, change(await readFile(path, 'utf8')));
    return path;
  }

  it('is read', async () => {
    expect((await refusal(await savedModel())).message).toBe('it was made');
  });

  it('with other names than the model has lists what is missing and what is left over', async () => {
    const path = await savedModel((json) => json.replace('"name":"a/kernel"', '"name":"c/kernel"'));
    const { code, message } = await refusal(path);
    expect(code).toBe('ERR_MODEL_INVALID');
    expect(message).toContain('the file has no "a/kernel"; the model has no place for "c/kernel"');
  });

  it.each([
    {
      what: 'too few bytes',
      change: ['"shape":[3]', '"shape":[5]'],
      says: 'has 68 bytes, and the manifest describes 76',
    },
    { what: 'weights that are not there', change: ['weights.bin', 'other.bin'], says: 'other.bin cannot be read' },
    {
      what: 'weights elsewhere',
      change: ['weights.bin', '../weights.bin'],
      says: '../weights.bin, which leads out of its folder',
    },
    { what: 'a graph', change: ['layers-model', 'graph-model'], says: 'its format is graph-model' },
    {
      what: 'an unknown layer',
      change: ['"class_name":"Dense"', '"class_name":"Denser"'],
      says: '"a" (Denser, layer 1 of 2): TensorFlow.js has no such layer',
    },
  ])('with $what is refused', async ({ change: [from = '', to = ''], says }) => {
    const { code, message } = await refusal(await savedModel((json) => json.replace(from, to)));
    expect(code).toBe('ERR_MODEL_INVALID');
    expect(message).toContain(says);
    expect(message).not.toContain('\n');
  });
});
