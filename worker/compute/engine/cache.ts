/**
 * Where engines live and which one is used. The cache is shared by all installations and runs of a user, so an engine is
 * never changed in place: it is written aside and renamed, and `current-<platform>.json` is replaced by a rename too.
 *
 *     <root>/current-linux-x64.json            { engine }: the folder of the engine that is used
 *     <root>/engines/<key>.<id>/engine.json    the manifest
 *     <root>/engines/<key>.<id>/package/       tfjs-node-gpu as published
 *     <root>/engines/<key>.<id>/lib/napi-v8/   the addon, built here
 *     <root>/engines/<key>.<id>/deps/          TensorFlow's libraries and headers
 *     <root>/engines/<key>.<id>/links/<hash>/  see links.ts
 *     <root>/downloads/                        tarballs with a pinned integrity
 */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';

/** The version of @tensorflow/tfjs-node-gpu that is built; the same as Lockstep's @tensorflow/tfjs. */
export const tfjsNodeVersion = '4.22.0';

/** The newest Node-API version that the addon is written for; Node 20 and all later have it, so one build serves all. */
export const napiVersion = 8;

/** What TensorFlow was built for. A `gpu` build also runs on a machine without one. */
export type Variant = 'cpu' | 'gpu';

/** One for each platform: machines with different processors may share a home directory. */
const currentFile = `current-${platformName()}.json`;

const manifestSchema = z.object({
  format: z.literal(1),
  key: z.string(),
  tfjsNode: z.string(),
  /** As the library itself says: "2.21.0". */
  tensorflow: z.string(),
  variant: z.enum(['cpu', 'gpu']),
  /** Where the libraries came from, in words. */
  source: z.string(),
  napi: z.int(),
  platform: z.string(),
  libraries: z.array(z.object({ name: z.string(), bytes: z.int(), sha256: z.string() })),
  installedAt: z.string(),
});

export type EngineManifest = Readonly<z.output<typeof manifestSchema>>;

/** An engine in the cache, or why there is none. */
export type CurrentEngine =
  | { readonly found: true; readonly directory: string; readonly manifest: EngineManifest }
  | { readonly found: false; readonly reason: string };

type Environment = Readonly<Record<string, string | undefined>>;

/** `$XDG_CACHE_HOME/lockstep`, else `~/.cache/lockstep`. */
export function cacheRoot(env: Environment = process.env): string {
  const base = env.XDG_CACHE_HOME;
  return join(base === undefined || base === '' ? join(homedir(), '.cache') : base, 'lockstep');
}

/** "linux-x64" */
export function platformName(): string {
  return `${process.platform}-${process.arch}`;
}

export function engineKey(tensorflow: string, variant: Variant): string {
  return `tfjs-node-${tfjsNodeVersion}_tensorflow-${tensorflow}-${variant}_napi${String(napiVersion)}_${platformName()}`;
}

export function addonPath(directory: string): string {
  return join(directory, 'lib', `napi-v${String(napiVersion)}`, 'tfjs_binding.node');
}

export function librariesDirectory(directory: string): string {
  return join(directory, 'deps', 'lib');
}

/** A name in `directory` that nobody else has: what is written there becomes visible by a rename only. */
export function asideIn(directory: string): string {
  mkdirSync(directory, { recursive: true });
  return join(directory, `.building-${randomUUID()}`);
}

export function writeManifest(directory: string, manifest: EngineManifest): void {
  writeFileSync(join(directory, 'engine.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}

export function readManifest(directory: string): EngineManifest {
  return manifestSchema.parse(JSON.parse(readFileSync(join(directory, 'engine.json'), 'utf8')));
}

const currentSchema = z.object({ engine: z.string() });

/** Makes the engine in `engines/<name>` the one that is used from now on. Runs that already loaded another keep it. */
export function setCurrent(root: string, name: string): void {
  const aside = asideIn(root);
  writeFileSync(aside, `${JSON.stringify({ engine: name })}\n`);
  renameSync(aside, join(root, currentFile));
}

/** The engines in use, of all platforms that share this cache. */
export async function currentEngines(root: string): Promise<ReadonlySet<string>> {
  const names = existsSync(root) ? await readdir(root) : [];
  const files = names.filter((name) => name.startsWith('current-'));
  return new Set(await Promise.all(files.map(async (name) => parseCurrent(await readFile(join(root, name), 'utf8')))));
}

function parseCurrent(text: string): string {
  return currentSchema.parse(JSON.parse(text)).engine;
}

/** The engine in use, if it is whole and of this version; costs a few stat calls. */
export function findCurrent(root: string = cacheRoot()): CurrentEngine {
  try {
    const current = join(root, currentFile);
    if (!existsSync(current)) return { found: false, reason: 'no engine is installed' };
    const directory = join(root, 'engines', parseCurrent(readFileSync(current, 'utf8')));
    const manifest = readManifest(directory);
    const reason = whyUnusable(directory, manifest);
    return reason === undefined ? { found: true, directory, manifest } : { found: false, reason };
  } catch (error) {
    return { found: false, reason: `the engine's description cannot be read: ${String(error)}` };
  }
}

function whyUnusable(directory: string, manifest: EngineManifest): string | undefined {
  if (manifest.tfjsNode !== tfjsNodeVersion)
    return `the engine is for tfjs-node ${manifest.tfjsNode}, this Lockstep needs ${tfjsNodeVersion}`;
  if (!existsSync(addonPath(directory))) return `${addonPath(directory)} is missing`;
  for (const { name, bytes } of manifest.libraries) {
    const path = join(librariesDirectory(directory), name);
    // A library linked in place belongs to someone else, who may have upgraded it; the size tells nearly always.
    const size = statSync(path, { throwIfNoEntry: false })?.size;
    if (size === undefined) return `${path} is missing`;
    if (size !== bytes)
      return `${path} was replaced since it was linked (${String(bytes)} bytes then, ${String(size)} now)`;
  }
  return undefined;
}
