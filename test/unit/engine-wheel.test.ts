/** What is taken from TensorFlow's wheels, and where it is put; pip and unzip are played by files. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LockstepError } from '../../src/errors.js';
import type { Run } from '../../worker/compute/engine/command.js';
import { placeWheel } from '../../worker/compute/engine/wheel.js';

let deps: string;
let requirements: string[][];

beforeEach(async () => {
  deps = await mkdtemp(join(tmpdir(), 'lockstep-wheel-'));
  requirements = [];
});

afterEach(() => rm(deps, { recursive: true }));

/** What is inside a wheel, by the start of its name. */
const contents: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  tensorflow: {
    'tensorflow/libtensorflow_cc.so.2': 'the C API',
    'tensorflow/libtensorflow_framework.so.2': 'the framework',
    'tensorflow/include/tensorflow/c/c_api.h': 'the header',
    'tensorflow/python/__init__.py': 'Python',
    'tensorflow-2.21.0.dist-info/METADATA': 'Requires-Dist: nvidia-cublas-cu12<13.0,>=12.5; extra == "and-cuda"\n',
  },
  nvidia: { 'nvidia/cublas/lib/libcublas.so.12': 'CUDA', 'nvidia_cublas_cu12.dist-info/METADATA': '' },
};

async function pip(args: readonly string[]): Promise<void> {
  const folder = args[args.indexOf('--dest') + 1] ?? '';
  const asked = args.slice(args.indexOf('--dest') + 2);
  requirements.push(asked);
  for (const requirement of asked.filter((word) => /^[a-z]/.test(word)))
    await writeFile(join(folder, `${requirement.split(/[=<]/, 1).join('')}.whl`), '');
}

async function unzip(wheel: string, folder: string, prefixes: readonly string[]): Promise<void> {
  const inside = Object.entries(contents).find(([name]) => basename(wheel).startsWith(name))?.[1] ?? {};
  for (const [name, text] of Object.entries(inside).filter(([path]) =>
    prefixes.some((prefix) => path.startsWith(prefix)),
  )) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
}

const run: Run = async (_, args) => {
  if (args[0] === '-m') await pip(args);
  else await unzip(args[2] ?? '', args[3] ?? '', args.slice(4));
  return '';
};

const say = () => undefined;
const read = (path: string) => readFile(join(deps, path), 'utf8');

test('the CPU wheel gives its two libraries, under every name that is asked for, and the C headers', async () => {
  expect(await placeWheel('cpu', { deps, run, say })).toBe('the tensorflow-cpu==2.21.0 wheel');

  expect(requirements).toEqual([['tensorflow-cpu==2.21.0']]);
  for (const name of ['libtensorflow.so', 'libtensorflow.so.2', 'libtensorflow_cc.so.2'])
    expect(await read(`lib/${name}`)).toBe('the C API');
  for (const name of ['libtensorflow_framework.so', 'libtensorflow_framework.so.2'])
    expect(await read(`lib/${name}`)).toBe('the framework');
  expect(await read('include/tensorflow/c/c_api.h')).toBe('the header');
  expect((await readdir(deps)).sort()).toEqual(['include', 'lib', 'wheel']);
  expect(await readdir(join(deps, 'wheel', 'tensorflow'))).not.toContain('python');
});

test('the GPU wheel brings its CUDA packages to where TensorFlow looks for them', async () => {
  await placeWheel('gpu', { deps, run, say });

  expect(requirements).toEqual([['tensorflow==2.21.0'], ['nvidia-cublas-cu12<13.0,>=12.5']]);
  // libtensorflow_cc.so.2 looks in $ORIGIN/../nvidia/cublas/lib, and its origin is deps/lib.
  expect(await read('lib/../nvidia/cublas/lib/libcublas.so.12')).toBe('CUDA');
});

test('a Python that has no wheel gets that of another one', async () => {
  const noWheel = new LockstepError('ERR_ENGINE_INSTALL', 'python3 failed: No matching distribution found');
  const oldPython: Run = async (command, args) => {
    if (args[0] === '-m' && !args.includes('--python-version')) throw noWheel;
    return run(command, args);
  };
  await placeWheel('cpu', { deps, run: oldPython, say });
  expect(requirements).toEqual([['--only-binary=:all:', '--python-version', '3.12', 'tensorflow-cpu==2.21.0']]);

  const offline: Run = () => Promise.reject(noWheel);
  await expect(placeWheel('cpu', { deps, run: offline, say })).rejects.toBe(noWheel);
});
