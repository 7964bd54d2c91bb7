/**
 * TensorFlow's Python packages, used without Python's TensorFlow: a wheel is a zip, and two of its libraries, its C headers and,
 * for GPUs, NVIDIA's packages are all that the engine needs. `pip` only downloads; nothing is installed into the user's Python.
 */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { LockstepError } from '../../../src/errors.js';
import type { Variant } from './cache.js';
import type { Run } from './command.js';
import { placeLibraries } from './libraries.js';

/** One version for everybody: the same build gives the same bits, today and on the machine bought next year. */
export const tensorflowWheelVersion = '2.21.0';

const unpackProgram = `
import sys, zipfile
archive, folder, *prefixes = sys.argv[1:]
with zipfile.ZipFile(archive) as wheel:
    wheel.extractall(folder, [name for name in wheel.namelist() if name.startswith(tuple(prefixes))])
`;

/** The C interface and what it includes; the rest of a wheel's 13,000 headers is for C++ extensions of TensorFlow. */
const tensorflowParts = [
  'tensorflow/libtensorflow_cc.so.2',
  'tensorflow/libtensorflow_framework.so.2',
  'tensorflow/include/tensorflow/c/',
  'tensorflow/include/tensorflow/core/platform/',
  'tensorflow/include/tsl/',
  'tensorflow/include/xla/tsl/',
];

export interface WheelContext {
  /** The engine's `deps`, empty. */
  readonly deps: string;
  readonly run: Run;
  readonly say: (line: string) => void;
}

/** Downloads and unpacks TensorFlow into `deps`, with its CUDA libraries for `gpu`. Resolves to where it is from. */
export async function placeWheel(variant: Variant, { deps, run, say }: WheelContext): Promise<string> {
  const project = variant === 'gpu' ? 'tensorflow' : 'tensorflow-cpu';
  const requirement = `${project}==${tensorflowWheelVersion}`;
  const downloads = join(deps, 'wheels');
  const unpacked = join(deps, 'wheel');

  say(`downloading ${requirement} with pip`);
  const wheel = await downloadTensorFlow(requirement, join(downloads, 'tensorflow'), run);
  const extra = variant === 'gpu' ? [`${project}-${tensorflowWheelVersion}.dist-info/METADATA`] : [];
  say('unpacking its libraries and headers');
  await unpack(wheel, unpacked, [...tensorflowParts, ...extra], run);
  if (variant === 'gpu')
    await placeCuda(join(unpacked, extra.join('')), join(downloads, 'nvidia'), unpacked, { run, say });
  await rm(downloads, { recursive: true });

  await placeLibraries(deps, {
    main: '../wheel/tensorflow/libtensorflow_cc.so.2',
    framework: '../wheel/tensorflow/libtensorflow_framework.so.2',
    include: 'wheel/tensorflow/include',
    ...(variant === 'gpu' ? { nvidia: 'wheel/nvidia' } : {}),
  });
  return `the ${requirement} wheel`;
}

/** For the Python at hand, or, where there is no wheel for it, for another: the libraries do not care. */
async function downloadTensorFlow(requirement: string, folder: string, run: Run): Promise<string> {
  try {
    return await download([requirement], folder, run).then(theOnly);
  } catch (error) {
    try {
      const otherPython = ['--only-binary=:all:', '--python-version', '3.12', requirement];
      return await download(otherPython, folder, run).then(theOnly);
    } catch {
      throw error;
    }
  }
}

function theOnly(wheels: readonly string[]): string {
  const [wheel] = wheels;
  if (wheel === undefined) throw new LockstepError('ERR_ENGINE_INSTALL', 'pip said that it was done and left no wheel');
  return wheel;
}

async function download(requirements: readonly string[], folder: string, run: Run): Promise<readonly string[]> {
  await mkdir(folder, { recursive: true });
  const quietly = ['--quiet', '--no-input', '--disable-pip-version-check', '--progress-bar', 'off'];
  await run('python3', [
    '-m',
    'pip',
    'download',
    '--no-deps',
    '--retries',
    '0',
    ...quietly,
    '--dest',
    folder,
    ...requirements,
  ]);
  const names = await readdir(folder);
  return names.filter((name) => name.endsWith('.whl')).map((name) => join(folder, name));
}

async function unpack(wheel: string, folder: string, prefixes: readonly string[], run: Run): Promise<void> {
  await run('python3', ['-c', unpackProgram, wheel, folder, ...prefixes]);
}

/** What `pip install tensorflow[and-cuda]` would add, side by side with it, where TensorFlow looks for it. */
async function placeCuda(
  metadata: string,
  downloads: string,
  unpacked: string,
  { run, say }: Pick<WheelContext, 'run' | 'say'>,
): Promise<void> {
  const requirements = cudaRequirements(await readFile(metadata, 'utf8'));
  say(`downloading ${String(requirements.length)} CUDA packages with pip, some gigabytes`);
  for (const wheel of await download(requirements, downloads, run)) await unpack(wheel, unpacked, ['nvidia/'], run);
}

/** The requirements of the extra `and-cuda` in a wheel's METADATA. */
export function cudaRequirements(metadata: string): readonly string[] {
  return [...metadata.matchAll(/^Requires-Dist: ([^;\n]+); *extra == ["']and-cuda["']/gm)].map(([, requirement = '']) =>
    requirement.replaceAll(/[\s()]/g, ''),
  );
}
