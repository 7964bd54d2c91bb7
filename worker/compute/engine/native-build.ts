/**
 * Builds Lockstep's own addon (native/) against the TensorFlow of an engine, and finds it there. Its file is named by the
 * hash of its sources: versions of Lockstep that share an engine do not share it, and a file that is there is never changed.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { toLockstepError } from '../../../src/errors.js';
import { compiler, nodeApiHeaders } from './addon.js';
import { asideIn, librariesDirectory, napiVersion } from './cache.js';
import type { Run } from './command.js';
import type { NativeAddon } from './native-addon.js';

const sources = join(import.meta.dirname, 'native');

/** Change one and the addon is built anew. */
const flags = [
  ...['-shared', '-fPIC', '-O3', '-std=c++17', '-fno-exceptions', '-fvisibility=hidden', '-Wall', '-Wextra'],
  // A product and a sum are two roundings, as in the kernels of src/kernels.
  '-ffp-contract=off',
  `-DNAPI_VERSION=${String(napiVersion)}`,
  // Its op stays registered in TensorFlow when the thread that loaded it ends. It finds TensorFlow wherever the cache is.
  ...['-Wl,-z,nodelete', '-Wl,-rpath,$ORIGIN/../../deps/lib'],
];

/** The addon's place in an engine. */
export function nativePath(directory: string): string {
  return join(directory, 'lib', `napi-v${String(napiVersion)}`, `lockstep-${sourceHash()}.node`);
}

/** Where a build that failed leaves its reason, so that it is tried again only when something is changed. */
function failurePath(directory: string): string {
  return nativePath(directory).replace(/\.node$/, '.failed');
}

function sourceHash(): string {
  const hash = createHash('sha256').update(JSON.stringify(flags));
  for (const name of readdirSync(sources).sort()) hash.update(name).update(readFileSync(join(sources, name)));
  return hash.digest('hex').slice(0, 16);
}

/** Whether there is nothing to be done: the addon is there, or it is known that it cannot be built. */
export function isNativeSettled(directory: string): boolean {
  return existsSync(nativePath(directory)) || existsSync(failurePath(directory));
}

/** Builds the addon, some 8 s. Why it cannot be built, or null: an engine is of use without it. */
export async function buildNative(directory: string, run: Run): Promise<string | null> {
  const path = nativePath(directory);
  const aside = asideIn(dirname(path));
  try {
    await mkdir(aside, { recursive: true });
    const built = join(aside, 'lockstep.node');
    await run(compiler(), [
      ...flags,
      ...['-I', nodeApiHeaders(), '-I', join(directory, 'deps', 'include')],
      ...readdirSync(sources).flatMap((name) => (name.endsWith('.cc') ? [join(sources, name)] : [])),
      ...['-L', librariesDirectory(directory), '-ltensorflow', '-ltensorflow_framework'],
      ...['-o', built],
    ]);
    await rename(built, path);
    await rm(failurePath(directory), { force: true });
    return null;
  } catch (error) {
    const reason = toLockstepError(error).message;
    await writeFile(failurePath(directory), reason);
    return reason;
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

export type LoadedNative = { readonly addon: NativeAddon } | { readonly reason: string };

/** For any thread. In the thread that computes, after tfjs-node: whichever comes first loads TensorFlow. */
export async function loadNative(directory: string): Promise<LoadedNative> {
  const path = nativePath(directory);
  if (existsSync(path)) return requireNative(path);
  const reason = await readFile(failurePath(directory), 'utf8').catch(() => 'it is not built for this version');
  return { reason: `${reason} (\`lockstep engine install\` builds it)` };
}

/** The same, where the path is known to be one that loads. */
export function requireNative(path: string): LoadedNative {
  try {
    // `require` returns any; the sources and the interface are of one version.
    return { addon: createRequire(import.meta.url)(path) as NativeAddon };
  } catch (error) {
    return { reason: toLockstepError(error).message };
  }
}
