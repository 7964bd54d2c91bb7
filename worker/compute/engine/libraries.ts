/** Places TensorFlow's libraries and headers in an engine's `deps`, under the names that the linker and loader look for. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { EngineManifest } from './cache.js';

/** TensorFlow as some source gives it. Paths are absolute, or relative to `deps/lib` for what was unpacked into `deps`. */
export interface Libraries {
  /** Holds TensorFlow's C API: libtensorflow.so.2, or libtensorflow_cc.so.2 of a Python package. */
  readonly main: string;
  readonly framework: string;
  /** Holds `tensorflow/c/c_api.h`. */
  readonly include: string;
  /** The folder of CUDA libraries beside the Python package, which TensorFlow looks for in `../nvidia`. */
  readonly nvidia?: string;
}

/** The linker's names, and the names that the libraries give themselves, which the loader asks for. */
const mainNames = ['libtensorflow.so', 'libtensorflow.so.2', 'libtensorflow_cc.so.2'];
const frameworkNames = ['libtensorflow_framework.so', 'libtensorflow_framework.so.2'];

/** The file names of the two libraries, newest layout first, that a folder may hold. */
const mainFiles = ['libtensorflow_cc.so.2', 'libtensorflow.so.2', 'libtensorflow.so'];
const frameworkFiles = ['libtensorflow_framework.so.2', 'libtensorflow_framework.so'];

/** Makes the links in `deps`; a name that is a real file there already is left. */
export async function placeLibraries(deps: string, libraries: Libraries): Promise<void> {
  const lib = join(deps, 'lib');
  await mkdir(lib, { recursive: true });
  for (const name of mainNames) await link(libraries.main, join(lib, name));
  for (const name of frameworkNames) await link(libraries.framework, join(lib, name));
  await link(libraries.include, join(deps, 'include'));
  if (libraries.nvidia !== undefined) await link(libraries.nvidia, join(deps, 'nvidia'));
}

async function link(target: string, path: string): Promise<void> {
  if (!existsSync(path)) await symlink(target, path);
}

/** Empties `deps` for the next source. */
export async function clearLibraries(deps: string): Promise<void> {
  await rm(deps, { recursive: true, force: true });
  await mkdir(deps, { recursive: true });
}

/** The two libraries in a folder, or the one that is not there. */
export function findLibraries(
  folder: string,
):
  | { readonly found: true; readonly main: string; readonly framework: string }
  | { readonly found: false; readonly missing: string } {
  const main = mainFiles.find((name) => existsSync(join(folder, name)));
  if (main === undefined) return { found: false, missing: mainFiles.join(' or ') };
  const framework = frameworkFiles.find((name) => existsSync(join(folder, name)));
  if (framework === undefined) return { found: false, missing: frameworkFiles.join(' or ') };
  return { found: true, main: join(folder, main), framework: join(folder, framework) };
}

/** What the manifest keeps of the placed libraries, to tell later that they are the same. */
export async function describeLibraries(deps: string): Promise<EngineManifest['libraries']> {
  return Promise.all(
    ['libtensorflow.so', 'libtensorflow_framework.so'].map(async (name) => {
      const path = join(deps, 'lib', name);
      const hash = createHash('sha256');
      // A stream's chunks are typed any; a file's without an encoding are buffers.
      for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
      return { name, bytes: (await stat(path)).size, sha256: hash.digest('hex') };
    }),
  );
}
