/**
 * Builds Lockstep's own addons in an engine, and finds them there: the one of the compiled steps against its TensorFlow, and
 * the one of the comm thread against nothing. A file is named by the hash of its sources: versions of Lockstep that share an
 * engine do not share it, and a file that is there is never changed.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { toLockstepError } from '../../../src/errors.js';
import { compiler, nodeApiHeaders } from './addon.js';
import { asideIn, findCurrent, librariesDirectory, napiVersion } from './cache.js';
import type { Run } from './command.js';
import type { NativeAddon } from './native-addon.js';

export interface OwnAddon {
  readonly name: string;
  /** The folder of its C++ sources. */
  readonly sources: string;
  readonly usesTensorFlow: boolean;
}

/** Runs compiled steps: native-addon.ts. */
export const stepAddon: OwnAddon = {
  name: 'lockstep',
  sources: join(import.meta.dirname, 'native'),
  usesTensorFlow: true,
};

/** Shares memory between workers of a host: worker/comm/shared-pages.ts. */
export const pagesAddon: OwnAddon = {
  name: 'pages',
  sources: resolve(import.meta.dirname, '../../comm/native'),
  usesTensorFlow: false,
};

const ownAddons = [stepAddon, pagesAddon];

/** Change one and the addons are built anew. */
const flags = [
  ...['-shared', '-fPIC', '-O3', '-std=c++17', '-fno-exceptions', '-fvisibility=hidden', '-Wall', '-Wextra'],
  // A product and a sum are two roundings, as in the kernels of src/kernels.
  '-ffp-contract=off',
  // Neither `errno` nor floating-point exceptions are looked at: loops with roots and comparisons can be vectors.
  ...['-fno-math-errno', '-fno-trapping-math'],
  `-DNAPI_VERSION=${String(napiVersion)}`,
  // Its op stays registered in TensorFlow when the thread that loaded it ends. It finds TensorFlow wherever the cache is.
  ...['-Wl,-z,nodelete', '-Wl,-rpath,$ORIGIN/../../deps/lib'],
];

/** An addon's place in an engine. */
export function nativePath(directory: string, addon: OwnAddon): string {
  return join(directory, 'lib', `napi-v${String(napiVersion)}`, `${addon.name}-${sourceHash(addon)}.node`);
}

/** Where a build that failed leaves its reason, so that it is tried again only when something is changed. */
function failurePath(directory: string, addon: OwnAddon): string {
  return nativePath(directory, addon).replace(/\.node$/, '.failed');
}

function sourceHash({ sources }: OwnAddon): string {
  const hash = createHash('sha256').update(JSON.stringify(flags));
  for (const name of readdirSync(sources).sort()) hash.update(name).update(readFileSync(join(sources, name)));
  return hash.digest('hex').slice(0, 16);
}

/** Whether all addons are there. */
export function hasNative(directory: string): boolean {
  return ownAddons.every((addon) => existsSync(nativePath(directory, addon)));
}

/** Whether there is nothing to be done: each addon is there, or it is known that it cannot be built. */
export function isNativeSettled(directory: string): boolean {
  return ownAddons.every(
    (addon) => existsSync(nativePath(directory, addon)) || existsSync(failurePath(directory, addon)),
  );
}

/** The comm thread's addon in the engine in use, where it could be built. */
export function findSharedPages(root?: string): string | null {
  const current = findCurrent(root);
  const path = current.found ? nativePath(current.directory, pagesAddon) : null;
  return path !== null && existsSync(path) ? path : null;
}

/** Builds what is missing, some 8 s. Why one cannot be built, or null: an engine is of use without them. */
export async function buildNative(directory: string, run: Run): Promise<string | null> {
  const missing = ownAddons.filter((addon) => !existsSync(nativePath(directory, addon)));
  const reasons = await Promise.all(missing.map((addon) => build(addon, directory, run)));
  return reasons.find((reason) => reason !== null) ?? null;
}

async function build(addon: OwnAddon, directory: string, run: Run): Promise<string | null> {
  const { sources, usesTensorFlow } = addon;
  const path = nativePath(directory, addon);
  const aside = asideIn(dirname(path));
  try {
    await mkdir(aside, { recursive: true });
    const built = join(aside, `${addon.name}.node`);
    const libraries = ['-L', librariesDirectory(directory), '-ltensorflow', '-ltensorflow_framework'];
    await run(compiler(), [
      ...flags,
      ...['-I', nodeApiHeaders(), '-I', join(directory, 'deps', 'include')],
      ...readdirSync(sources).flatMap((name) => (name.endsWith('.cc') ? [join(sources, name)] : [])),
      ...(usesTensorFlow ? libraries : []),
      ...['-o', built],
    ]);
    await rename(built, path);
    await rm(failurePath(directory, addon), { force: true });
    return null;
  } catch (error) {
    const reason = toLockstepError(error).message;
    await writeFile(failurePath(directory, addon), reason);
    return reason;
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

export type LoadedNative = { readonly addon: NativeAddon } | { readonly reason: string };

/** For any thread. In the thread that computes, after tfjs-node: whichever comes first loads TensorFlow. */
export async function loadNative(directory: string): Promise<LoadedNative> {
  const path = nativePath(directory, stepAddon);
  if (existsSync(path)) return requireNative(path);
  const reason = await readFile(failurePath(directory, stepAddon), 'utf8').catch(
    () => 'it is not built for this version',
  );
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
