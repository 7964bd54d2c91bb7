/** The engine that this machine has, loaded in processes of their own, since TensorFlow reads its settings once. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findCurrent } from '../../worker/compute/engine/cache.js';

const root = resolve(import.meta.dirname, '../..');
const current = findCurrent();

const prelude = `
  const warnings = [];
  const log = { debug() {}, info() {}, error() {}, warn: (message) => warnings.push(message) };
  const { loadEngine } = await import('./worker/compute/engine/load.ts');
  const { tf } = await import('./worker/compute/tf.ts');
  const show = (value) => console.log(JSON.stringify(value));
`;

// The matchers are typed any.
const matching = (pattern: RegExp): unknown => expect.stringMatching(pattern);

let emptyCache: string;

beforeEach(async () => {
  emptyCache = await mkdtemp(join(tmpdir(), 'lockstep-cache-'));
});

afterEach(() => rm(emptyCache, { recursive: true }));

/** Runs a program in a new process, and resolves to what it showed. */
async function show(program: string, env: Readonly<Record<string, string>> = {}): Promise<unknown> {
  const args = ['--import', 'tsx', '--input-type=module', '--eval', `${prelude}${program}`];
  const { stdout } = await execa(process.execPath, args, { cwd: root, env });
  return JSON.parse(stdout.split('\n').at(-1) ?? '');
}

// Without an engine (no compiler, or no network when it was set up) there is nothing to load here.
describe.skipIf(!current.found)('loadEngine, with an engine in the cache', () => {
  const tensorflow = current.found ? current.manifest.tensorflow : '';

  test('multiplies matrices through TensorFlow, with the one tfjs of the job file', async () => {
    const shown = await show(`
      const engine = await loadEngine({ threads: 1, device: 'cpu', log });
      const product = tf.matMul(tf.tensor2d([[1, 2], [3, 4]]), tf.tensor2d([[5, 6], [7, 8]]));
      const imported = (await import('@tensorflow/tfjs')).default;
      show({
        backend: [engine.backend, tf.getBackend()],
        product: [...product.dataSync()],
        description: engine.description,
        tfjs: [tf.tensor === engine.tf.tensor, imported.tensor === engine.tf.tensor],
        bound: engine.binding.TF_Version,
        warnings,
      });
    `);
    const build = current.found && current.manifest.variant === 'gpu' ? ', gpu build' : '';
    expect(shown).toEqual({
      backend: ['tensorflow', 'tensorflow'],
      product: [19, 22, 43, 50],
      description: `tensorflow ${tensorflow} cpu${build}`,
      tfjs: [true, true],
      bound: tensorflow,
      warnings: [],
    });
  });

  test.each([1, 3])('computes on %i threads, as it was told', async (threads) => {
    // TensorFlow has two pools, one that runs ops and one that shares out the work of an op.
    const shown = await show(`
      const { readdirSync } = await import('node:fs');
      const numThreads = () => readdirSync('/proc/self/task').length;
      const before = numThreads();
      await loadEngine({ threads: ${threads}, device: 'cpu', log });
      tf.matMul(tf.ones([300, 300]), tf.ones([300, 300])).dataSync();
      show(numThreads() - before);
    `);
    expect(shown).toBe(2 * threads);
  });

  test('refuses to go on without the GPU that was asked for', async () => {
    const shown = await show(
      `try { await loadEngine({ threads: 1, device: 'gpu', log }); show('loaded'); } catch ({ code, message }) { show({ code, message }); }`,
      { CUDA_VISIBLE_DEVICES: '' },
    );
    expect(shown).toMatchObject({
      code: 'ERR_DEVICE_MISSING',
      message: matching(/^A GPU was asked for, and TensorFlow .* found no GPU that it can use\. Run /),
    });
  });
});

describe('loadEngine, without an engine', () => {
  const compute = `
    const engine = await loadEngine({ threads: 1, log });
    const sum = tf.add(tf.scalar(1), tf.scalar(1)).dataSync()[0];
    show({ backend: engine.backend, description: engine.description, sum, warnings });
  `;
  const computed = { backend: 'cpu', description: 'tfjs 4.22.0 cpu', sum: 2 };

  test('computes in plain JavaScript, and says what failed and how to mend it', async () => {
    expect(await show(compute, { XDG_CACHE_HOME: emptyCache })).toEqual({
      ...computed,
      warnings: [
        'Training runs in plain JavaScript, 10 to 100 times slower than TensorFlow: no engine is installed. ' +
          'Run `lockstep engine install`; `lockstep doctor` says what this machine lacks.',
      ],
    });
  });

  test('does not warn who asked for plain JavaScript', async () => {
    expect(await show(compute, { LOCKSTEP_ENGINE: 'js' })).toEqual({ ...computed, warnings: [] });
  });

  test('refuses a GPU in plain JavaScript', async () => {
    const shown = await show(
      `try { await loadEngine({ threads: 1, device: 'gpu', log }); show('loaded'); } catch ({ code }) { show(code); }`,
      { LOCKSTEP_ENGINE: 'js' },
    );
    expect(shown).toBe('ERR_DEVICE_MISSING');
  });
});

test('the tf of job files loads nothing of tfjs until it is used', async () => {
  const shown = await show(`
    const { createRequire } = await import('node:module');
    const loaded = () => Object.keys(createRequire(import.meta.url).cache).filter((path) => path.includes('@tensorflow')).length;
    const before = loaded();
    const model = tf.sequential({ layers: [tf.layers.dense({ units: 1, inputShape: [2] })] });
    show({ before, after: loaded() > 0, parameters: model.countParams(), has: 'tidy' in tf, keys: Object.keys(tf).includes('matMul') });
  `);
  expect(shown).toEqual({ before: 0, after: true, parameters: 3, has: true, keys: true });
});
