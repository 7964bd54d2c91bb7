/**
 * Loads the engine into this process: TensorFlow through tfjs-node's addon, or, loudly, tfjs in plain JavaScript. Call it
 * before anything computes, once, on the main thread: TensorFlow reads its settings when it is loaded.
 */
import { createRequire } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { assert, LockstepError } from '../../../src/errors.js';
import type { Log } from '../../../src/log.js';
import { addonPath, cacheRoot, findCurrent, type CurrentEngine, type EngineManifest } from './cache.js';
import { tensorflowEnvironment } from './environment.js';
import { linkTfjsNode } from './links.js';
import type { NativeAddon } from './native-addon.js';
import { spellReluGradient } from '../relu.js';
import { spellSoftmax } from '../softmax.js';
import { loadNative, nativePath, stepAddon } from './native-build.js';
import { requireTfjs, type Tfjs } from './tfjs.js';

export interface Engine {
  readonly tf: Tfjs;
  readonly backend: 'tensorflow' | 'cpu';
  readonly device: 'cpu' | 'gpu';
  /** One line, equal on every host with the same build: "tensorflow 2.21.0 cpu". */
  readonly description: string;
  /** tfjs-node's addon, where there is one. */
  readonly binding?: unknown;
  /** Lockstep's own addon, where it could be built, and its file, for other threads. */
  readonly native?: { readonly addon: NativeAddon; readonly path: string } | undefined;
}

export interface LoadOptions {
  /** TensorFlow threads; part of the numbers. */
  readonly threads: number;
  /** `gpu` refuses to run without one. @default 'auto' */
  readonly device?: 'auto' | 'cpu' | 'gpu';
  /** Kernels and gradients stay as tfjs-node has them, for comparisons. @default false */
  readonly plain?: boolean;
  readonly log: Log;
}

/**
 * Loads TensorFlow, or falls back to plain JavaScript with a warning that says why and how to mend it.
 * `LOCKSTEP_ENGINE=js` asks for plain JavaScript.
 *
 * @throws LockstepError ERR_DEVICE_MISSING if a GPU was asked for and cannot be used
 */
export async function loadEngine(options: LoadOptions): Promise<Engine> {
  assert(isMainThread, 'The engine was asked for off the main thread, where TensorFlow would not see its settings');
  const { device = 'auto', log } = options;
  if (process.env.LOCKSTEP_ENGINE === 'js')
    return javascriptEngine(device, 'LOCKSTEP_ENGINE=js asks for plain JavaScript');

  const current = findCurrent(cacheRoot());
  const mend = 'Run `lockstep engine install`; `lockstep doctor` says what this machine lacks.';
  const loaded = current.found ? loadTensorFlow(current.directory, options) : current;
  if ('reason' in loaded) {
    const engine = await javascriptEngine(device, `${loaded.reason}. ${mend}`);
    log.warn(`Training runs in plain JavaScript, 10 to 100 times slower than TensorFlow: ${loaded.reason}. ${mend}`);
    return engine;
  }
  assert(current.found, 'TensorFlow was loaded and no engine was found');
  return tensorflowEngine(loaded, current, options);
}

interface NodeBackend {
  readonly isUsingGpuDevice: boolean;
  readonly binding: unknown;
}

type Loaded = { readonly tf: Tfjs; readonly backend: NodeBackend } | { readonly reason: string };

function loadTensorFlow(directory: string, { threads, device = 'auto' }: LoadOptions): Loaded {
  const require = createRequire(import.meta.url);
  assert(
    !(addonPath(directory) in require.cache) || process.env.TF_NUM_INTRAOP_THREADS === String(threads),
    `TensorFlow is loaded with ${String(process.env.TF_NUM_INTRAOP_THREADS)} threads and cannot change to ${String(threads)}`,
  );
  Object.assign(process.env, tensorflowEnvironment({ threads, device }));
  restoreIsNullOrUndefined(require('node:util') as Record<string, unknown>);
  try {
    require(linkTfjsNode(directory));
  } catch (error) {
    return {
      reason: `the engine in ${directory} does not load: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
  const tf = requireTfjs();
  // tfjs types a backend by its common part; these two fields are NodeJSKernelBackend's.
  return { tf, backend: tf.backend() as unknown as NodeBackend };
}

/** tfjs-node calls it; Node 23 removed it, and Node 22 prints a warning about it. */
function restoreIsNullOrUndefined(util: Record<string, unknown>): void {
  util.isNullOrUndefined = (value: unknown) => value === null || value === undefined;
}

async function tensorflowEngine(
  { tf, backend }: Extract<Loaded, { tf: unknown }>,
  { manifest, directory }: Extract<CurrentEngine, { found: true }>,
  { device: asked = 'auto', plain = false, log }: LoadOptions,
): Promise<Engine> {
  await tf.ready();
  assert(tf.getBackend() === 'tensorflow', `tfjs-node was loaded and the backend is "${tf.getBackend()}"`);
  const device = backend.isUsingGpuDevice ? 'gpu' : 'cpu';
  if (asked === 'gpu' && device === 'cpu') throw gpuMissing(manifest);
  if (asked === 'auto' && device === 'cpu' && manifest.variant === 'gpu')
    log.warn(
      'TensorFlow was built for GPUs and found none that it can use; it runs on the CPU. `lockstep doctor` says more.',
    );
  if (!plain) {
    spellReluGradient(tf);
    if (device === 'cpu') spellSoftmax(tf);
  }
  // The bits of a GPU build on a CPU may differ from those of a CPU build, so the line says which it is.
  const build = manifest.variant === device ? '' : `, ${manifest.variant} build`;
  const description = `tensorflow ${manifest.tensorflow} ${device}${build}`;
  const native = await loadOwnAddon(directory, log);
  return { tf, backend: 'tensorflow', device, description, binding: backend.binding, native };
}

async function loadOwnAddon(directory: string, log: Log): Promise<Engine['native']> {
  const native = await loadNative(directory);
  if ('addon' in native) return { addon: native.addon, path: nativePath(directory, stepAddon) };
  log.warn(`Steps run through tfjs-node's addon, slower, as Lockstep's own cannot be used: ${native.reason}.`);
  return undefined;
}

function gpuMissing(manifest: EngineManifest): LockstepError {
  const found = `TensorFlow ${manifest.tensorflow} (${manifest.variant} build, from ${manifest.source}) found no GPU that it can use`;
  const mend =
    manifest.variant === 'cpu'
      ? 'Run `lockstep engine install --device gpu`.'
      : 'Run `lockstep doctor`, and with TF_CPP_MIN_LOG_LEVEL=0 TensorFlow says which CUDA library it misses.';
  return new LockstepError('ERR_DEVICE_MISSING', `A GPU was asked for, and ${found}. ${mend}`, {
    details: { engine: manifest.key, cudaVisibleDevices: process.env.CUDA_VISIBLE_DEVICES },
  });
}

async function javascriptEngine(device: 'auto' | 'cpu' | 'gpu', reason: string): Promise<Engine> {
  if (device === 'gpu')
    throw new LockstepError('ERR_DEVICE_MISSING', `A GPU was asked for, and TensorFlow cannot be used: ${reason}`);
  const tf = requireTfjs();
  await tf.setBackend('cpu');
  silenceBanner(tf);
  return { tf, backend: 'cpu', device: 'cpu', description: `tfjs ${tf.version.tfjs} cpu` };
}

/** The backend's first tensor prints advice to install tfjs-node, which our own warning has given; `PROD` withholds it. */
function silenceBanner(tf: Tfjs): void {
  const production = tf.env().getBool('PROD');
  tf.env().set('PROD', true);
  tf.scalar(0).dispose();
  tf.env().set('PROD', production);
}
