/**
 * tfjs-node's addon: its published sources, checked against a pinned hash, compiled against the TensorFlow that was found.
 * Two C++ files over two C interfaces (Node-API and libtensorflow's), so the compiler is called directly.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { LockstepError } from '../../../src/errors.js';
import { addonPath, asideIn, librariesDirectory, napiVersion, tfjsNodeVersion } from './cache.js';
import type { Run } from './command.js';

const tarballName = `tensorflow-tfjs-node-gpu-${tfjsNodeVersion}.tgz`;

/** The registry's `dist.integrity` of the published version. */
export const tarballIntegrity =
  'sha512-p//NN6DGiN4hInUmIkRffaFVMcdTREUMjPyjW04J7OXvB2zBlQimj61eFKSgRrH3f5TnOfKzb0n56he/B6a4bw==';

/**
 * tfjs-node-gpu's tarball in the cache's `downloads`; taken from the registry if it is not there, or not whole. Its install
 * script never runs.
 *
 * @throws LockstepError ERR_ENGINE_INSTALL if what arrives is not what was published
 */
export async function fetchTarball(root: string, run: Run): Promise<string> {
  const downloads = join(root, 'downloads');
  const path = join(downloads, tarballName);
  if (existsSync(path) && (await integrityOf(path)) === tarballIntegrity) return path;

  const aside = asideIn(downloads);
  try {
    await mkdir(aside, { recursive: true });
    const spec = `@tensorflow/tfjs-node-gpu@${tfjsNodeVersion}`;
    await run('npm', ['pack', spec, '--ignore-scripts', '--pack-destination', aside]);
    await checkIntegrity(join(aside, tarballName));
    await rename(join(aside, tarballName), path);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
  return path;
}

async function checkIntegrity(path: string): Promise<void> {
  const found = await integrityOf(path);
  if (found === tarballIntegrity) return;
  throw new LockstepError(
    'ERR_ENGINE_INSTALL',
    `The registry gave another ${tarballName} than the one published: its hash is ${found}, expected ${tarballIntegrity}. ` +
      'Check the registry that npm uses (`npm config get registry`).',
    { details: { found, expected: tarballIntegrity } },
  );
}

async function integrityOf(path: string): Promise<string> {
  return `sha512-${createHash('sha512')
    .update(await readFile(path))
    .digest('base64')}`;
}

/** Unpacks the tarball to `<directory>/package`. */
export async function unpackTarball(tarball: string, directory: string, run: Run): Promise<void> {
  await mkdir(directory, { recursive: true });
  await run('tar', ['-xzf', tarball, '-C', directory]);
}

/** The C++ compiler: `$CXX`, else `g++`. */
export function compiler(env: Readonly<Record<string, string | undefined>> = process.env): string {
  return env.CXX === undefined || env.CXX === '' ? 'g++' : env.CXX;
}

/** Compiles `<directory>/package/binding` against `<directory>/deps`; about 10 s. */
export async function buildAddon(directory: string, run: Run): Promise<void> {
  const addon = addonPath(directory);
  const sources = join(directory, 'package', 'binding');
  await mkdir(dirname(addon), { recursive: true });
  await run(compiler(), [
    ...['-shared', '-fPIC', '-O2', '-std=c++17', '-w'],
    `-DNAPI_VERSION=${String(napiVersion)}`,
    ...['-I', nodeApiHeaders(), '-I', join(directory, 'deps', 'include')],
    ...['tfjs_backend.cc', 'tfjs_binding.cc'].map((name) => join(sources, name)),
    ...['-L', librariesDirectory(directory), '-ltensorflow', '-ltensorflow_framework'],
    // The addon finds TensorFlow beside it, wherever the cache is.
    '-Wl,-rpath,$ORIGIN/../../deps/lib',
    ...['-o', addon],
  ]);
}

/** The folder of `node_api.h`. */
export function nodeApiHeaders(): string {
  return join(dirname(createRequire(import.meta.url).resolve('node-api-headers/package.json')), 'include');
}
