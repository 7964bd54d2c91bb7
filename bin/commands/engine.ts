/** `lockstep engine`: installs the engine, and says which one is used. */
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { cacheRoot, findCurrent, type EngineManifest, type Variant } from '../../worker/compute/engine/cache.js';
import { addNative, defaultVariant, installEngine } from '../../worker/compute/engine/install.js';
import { hasNative, isNativeSettled } from '../../worker/compute/engine/native-build.js';
import { LockstepError } from '../../src/errors.js';

interface InstallFlags {
  readonly force?: boolean;
  readonly ifMissing?: boolean;
  readonly device: 'auto' | Variant;
}

export function engineCommand(): Command {
  return new Command('engine')
    .description('the TensorFlow that Lockstep computes with')
    .addCommand(installCommand())
    .addCommand(statusCommand());
}

function installCommand(): Command {
  return new Command('install')
    .description('find TensorFlow, build the addon for it, and use it from now on')
    .option('--force', 'install again, also when an engine is there')
    .option('--if-missing', 'do nothing, and say nothing, when an engine is there')
    .addOption(
      new Option('--device <kind>', 'what the engine is to run on').choices(['auto', 'cpu', 'gpu']).default('auto'),
    )
    .action(install);
}

async function install({ force = false, ifMissing = false, device }: InstallFlags): Promise<void> {
  const variant = device === 'auto' ? defaultVariant() : device;
  const current = findCurrent();
  if (!force && current.found && (ifMissing || suits(current.manifest, variant))) {
    if (!isNativeSettled(current.directory) || !ifMissing) await addNativeTo(current.directory);
    if (!ifMissing)
      process.stdout.write(`${describe(current.manifest)}\nAlready installed; --force installs it again.\n`);
    return;
  }
  const manifest = await installEngine({ variant, say });
  if (manifest.variant !== variant)
    say('this engine computes on the CPU; the reasons above say why no GPU build could be used');
  process.stdout.write(`${describe(manifest)}\n`);
}

/** An engine that another version of Lockstep installed lacks this version's addon. */
async function addNativeTo(directory: string): Promise<void> {
  if (!hasNative(directory)) await addNative(directory, { say });
}

/** Whether an installed engine is what an install would now look for. */
function suits(manifest: EngineManifest, variant: Variant): boolean {
  const userBuild = process.env.LOCKSTEP_LIBTENSORFLOW;
  if (userBuild && manifest.source !== resolve(userBuild)) return false;
  return manifest.variant === variant;
}

function say(line: string): void {
  process.stderr.write(`engine: ${line}\n`);
}

function statusCommand(): Command {
  return new Command('status')
    .description('say which engine is used')
    .option('--json', 'as one JSON object')
    .action(({ json = false }: { readonly json?: boolean }) => {
      const current = findCurrent();
      if (json) {
        process.stdout.write(`${JSON.stringify({ cache: cacheRoot(), ...current })}\n`);
        return;
      }
      if (!current.found)
        throw new LockstepError(
          'ERR_ENGINE_MISSING',
          `Lockstep has no engine (${current.reason}) and computes in plain JavaScript. Run \`lockstep engine install\`.`,
        );
      process.stdout.write(`${describe(current.manifest)}\n${current.directory}\n`);
    });
}

function describe({ tensorflow, variant, source, installedAt }: EngineManifest): string {
  return `TensorFlow ${tensorflow}, ${variant} build, from ${source}, installed ${installedAt}`;
}
