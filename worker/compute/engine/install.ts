/**
 * `lockstep engine install`: takes tfjs-node's sources, tries each source of TensorFlow until one is built and computes, and
 * makes it the engine in use. All work happens in a folder of its own that is renamed when whole, so that installs running at
 * once, or killed half-way, leave nothing broken.
 */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LockstepError, toLockstepError } from '../../../src/errors.js';
import { buildAddon, compiler, fetchTarball, unpackTarball } from './addon.js';
import {
  asideIn,
  cacheRoot,
  currentEngines,
  engineKey,
  napiVersion,
  platformName,
  setCurrent,
  tfjsNodeVersion,
  writeManifest,
  type EngineManifest,
  type Variant,
} from './cache.js';
import { run as runCommand, type Run } from './command.js';
import { hasNvidiaDriver } from './environment.js';
import { clearLibraries, describeLibraries } from './libraries.js';
import { buildNative } from './native-build.js';
import { testEngine, type SelfTest } from './self-test.js';
import { sourcesFor, type Placed, type Source } from './sources.js';

export interface InstallOptions {
  /** Tells the user what is being done, a line per phase. */
  readonly say: (line: string) => void;
  /** What the engine is to run on. @default gpu where there is an NVIDIA driver */
  readonly variant?: Variant;
  /** @default cacheRoot() */
  readonly root?: string;
  /** @default those of sourcesFor(variant) */
  readonly sources?: readonly Source[];
  readonly run?: Run;
  /** The path of tfjs-node-gpu's tarball. @default from the cache or the registry */
  readonly tarball?: () => Promise<string>;
  /** @default testEngine */
  readonly test?: (directory: string) => Promise<SelfTest>;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Why a source was passed over. */
interface Refusal {
  readonly source: string;
  readonly reason: string;
}

const abandonedAfterMs = 24 * 60 * 60_000;

/** What an engine on this machine is to run on when nobody says. */
export function defaultVariant(): Variant {
  return hasNvidiaDriver() ? 'gpu' : 'cpu';
}

/**
 * Installs an engine and makes it the one in use.
 *
 * @throws LockstepError ERR_ENGINE_INSTALL, with the reason of each source
 */
export async function installEngine(options: InstallOptions): Promise<EngineManifest> {
  const { root = cacheRoot(), run = runCommand, say } = options;
  const tarball = options.tarball ?? (() => fetchTarball(root, run));
  const engines = join(root, 'engines');
  requireLinux();
  await requireCompiler(run);
  await removeAbandoned(root);

  const directory = asideIn(engines);
  try {
    say(`taking tfjs-node-gpu ${tfjsNodeVersion} from the registry`);
    await unpackTarball(await tarball(), directory, run);
    const manifest = await firstWorkingSource(directory, options);
    await addNative(directory, options);
    writeManifest(directory, manifest);
    // A name of its own each time: a run that is just loading the engine in use keeps it.
    const name = `${manifest.key}.${randomUUID().slice(0, 8)}`;
    await rename(directory, join(engines, name));
    setCurrent(root, name);
    return manifest;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/**
 * Brings an engine up to date with this version's own addon. Without it steps are slower, and the engine is of use.
 */
export async function addNative(
  directory: string,
  { run = runCommand, say }: Pick<InstallOptions, 'run' | 'say'>,
): Promise<void> {
  say("building Lockstep's own addon");
  const reason = await buildNative(directory, run);
  if (reason !== null) say(`it cannot be built, and steps run through tfjs-node's, slower: ${reason}`);
}

async function firstWorkingSource(directory: string, options: InstallOptions): Promise<EngineManifest> {
  const { say, variant = defaultVariant() } = options;
  const refusals: Refusal[] = [];
  for (const source of options.sources ?? sourcesFor(variant)) {
    const outcome = await trySource(source, directory, variant, options);
    if ('manifest' in outcome) return outcome.manifest;
    say(`not from ${source.name}: ${outcome.reason}`);
    refusals.push({ source: source.name, reason: outcome.reason });
  }
  throw nothingWorked(refusals);
}

type Outcome = { readonly manifest: EngineManifest } | { readonly reason: string };

async function trySource(
  source: Source,
  directory: string,
  wanted: Variant,
  options: InstallOptions,
): Promise<Outcome> {
  const { say, run = runCommand, test = testEngine, env = process.env } = options;
  const deps = join(directory, 'deps');
  try {
    await clearLibraries(deps);
    const placed = await source.place({ deps, wanted, env, run, say });
    if (!placed.placed) return { reason: placed.reason };
    say(`building the addon against ${placed.origin}`);
    await buildAddon(directory, run);
    say('testing it');
    const tested = await test(directory);
    if (placed.variant === 'gpu' && tested.device === 'cpu' && hasNvidiaDriver())
      return { reason: `TensorFlow ${tested.tensorflow} computes, but finds no GPU that it can use` };
    return { manifest: await manifestOf(deps, placed, tested) };
  } catch (error) {
    return { reason: toLockstepError(error).message };
  }
}

async function manifestOf(
  deps: string,
  { origin, variant }: Extract<Placed, { placed: true }>,
  { tensorflow }: SelfTest,
): Promise<EngineManifest> {
  return {
    format: 1,
    key: engineKey(tensorflow, variant),
    tfjsNode: tfjsNodeVersion,
    tensorflow,
    variant,
    source: origin,
    napi: napiVersion,
    platform: platformName(),
    libraries: await describeLibraries(deps),
    installedAt: new Date().toISOString(),
  };
}

function requireLinux(): void {
  if (process.platform === 'linux') return;
  throw new LockstepError(
    'ERR_ENGINE_INSTALL',
    `The engine is built on Linux (or WSL 2) only, and this is ${process.platform}. Training works here in plain JavaScript.`,
  );
}

async function requireCompiler(run: Run): Promise<void> {
  try {
    await run(compiler(), ['--version']);
  } catch (error) {
    throw new LockstepError(
      'ERR_ENGINE_INSTALL',
      `The engine needs a C++ compiler, and ${toLockstepError(error).message}. Install one (Debian, Ubuntu: apt install g++; ` +
        'Fedora, RHEL: dnf install gcc-c++), or name yours in CXX.',
      { cause: error },
    );
  }
}

function nothingWorked(refusals: readonly Refusal[]): LockstepError {
  const reasons = refusals.map(({ source, reason }) => `\n  ${source}: ${reason}`).join('');
  return new LockstepError(
    'ERR_ENGINE_INSTALL',
    `No TensorFlow was found that works:${reasons}\nMend one of these and run \`lockstep engine install\` again; on a machine ` +
      'without network, set LOCKSTEP_LIBTENSORFLOW to a folder with include/ and lib/ of TensorFlow.',
    { details: { refusals } },
  );
}

/** Folders of installs that died, and engines that no `current` names; those of today may still be in use. */
async function removeAbandoned(root: string): Promise<void> {
  const engines = join(root, 'engines');
  const used = await currentEngines(root);
  for (const name of existsSync(engines) ? await readdir(engines) : []) {
    const { mtimeMs } = await stat(join(engines, name));
    if (!used.has(name) && Date.now() - mtimeMs > abandonedAfterMs) await rm(join(engines, name), { recursive: true });
  }
}
