/**
 * Where TensorFlow may come from, best first. A source either places libraries in the engine's `deps`, or says in words why it
 * cannot; that it can is only believed when the addon was built against it and computed something.
 */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import type { Variant } from './cache.js';
import type { Run } from './command.js';
import { findLibraries, placeLibraries } from './libraries.js';
import { placeWheel, tensorflowWheelVersion } from './wheel.js';

export interface SourceContext {
  /** The engine's `deps`, empty. */
  readonly deps: string;
  /** What the engine is to run on. */
  readonly wanted: Variant;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly run: Run;
  /** Tells the user what is being done. */
  readonly say: (line: string) => void;
}

export type Placed =
  | { readonly placed: true; readonly origin: string; readonly variant: Variant }
  | { readonly placed: false; readonly reason: string };

export interface Source {
  readonly name: string;
  /** May throw too; the message is then the reason. */
  place(context: SourceContext): Promise<Placed>;
}

/** The sources for a machine, in the order in which they are tried. */
export function sourcesFor(wanted: Variant): readonly Source[] {
  const best = [userBuild, pythonPackage, wheelOf(wanted), addonDownload];
  // Where nothing finds the GPU, a current TensorFlow on the CPU is still far better than plain JavaScript.
  return wanted === 'gpu' ? [...best, wheelOf('cpu')] : best;
}

const userBuild: Source = {
  name: 'LOCKSTEP_LIBTENSORFLOW',
  async place({ deps, wanted, env }) {
    if (!env.LOCKSTEP_LIBTENSORFLOW) return unavailable('it is not set');
    const folder = resolve(env.LOCKSTEP_LIBTENSORFLOW);
    const libraries = findLibraries(join(folder, 'lib'));
    if (!libraries.found) return unavailable(`${join(folder, 'lib')} has no ${libraries.missing}`);
    const include = join(folder, 'include');
    const header = join(include, 'tensorflow', 'c', 'c_api.h');
    if (!existsSync(header)) return unavailable(`${header} is missing`);
    await placeLibraries(deps, { ...libraries, include });
    return { placed: true, origin: folder, variant: wanted };
  },
};

/** Finds the package without importing it, which takes seconds. */
const findPackageProgram = `
import importlib.util, json, os
spec = importlib.util.find_spec("tensorflow")
places = list(spec.submodule_search_locations or []) if spec else []
info = os.path.join(places[0], "python", "platform", "build_info.py") if places else ""
text = open(info).read() if os.path.exists(info) else ""
print(json.dumps({"folder": places[0] if places else None, "cuda": "'is_cuda_build', True" in text}))
`;

const packageSchema = z.object({ folder: z.string().nullable(), cuda: z.boolean() });

const pythonPackage: Source = {
  name: 'TensorFlow in python3',
  async place({ deps, wanted, run }) {
    const { folder, cuda } = packageSchema.parse(JSON.parse(await run('python3', ['-c', findPackageProgram])));
    if (folder === null) return unavailable('python3 has no package tensorflow');
    if (wanted === 'gpu' && !cuda) return unavailable(`the TensorFlow in ${folder} was built without CUDA`);
    const libraries = findLibraries(folder);
    if (!libraries.found) return unavailable(`${folder} has no ${libraries.missing}`);
    const nvidia = join(dirname(folder), 'nvidia');
    const include = join(folder, 'include');
    await placeLibraries(deps, { ...libraries, include, ...(existsSync(nvidia) ? { nvidia } : {}) });
    return { placed: true, origin: folder, variant: cuda ? 'gpu' : 'cpu' };
  },
};

function wheelOf(variant: Variant): Source {
  return {
    name: `the ${variant === 'gpu' ? 'tensorflow' : 'tensorflow-cpu'} ${tensorflowWheelVersion} wheel`,
    place: async (context) => ({ placed: true, origin: await placeWheel(variant, context), variant }),
  };
}

/** What tfjs-node's own install script would fetch. `TFJS_NODE_BASE_URI` names a mirror, as it does there. */
const addonDownload: Source = {
  name: "tfjs-node's own download of libtensorflow 2.9.1",
  async place({ deps, wanted, env, run, say }) {
    if (process.arch !== 'x64') return unavailable(`there is none for ${process.arch}`);
    const base = env.TFJS_NODE_BASE_URI ?? 'https://storage.googleapis.com/tensorflow/libtensorflow/libtensorflow-';
    const url = `${base}${wanted}-linux-x86_64-2.9.1.tar.gz`;
    const archive = join(deps, 'libtensorflow.tar.gz');
    say(`downloading ${url}`);
    await run('curl', [
      '--fail',
      '--silent',
      '--show-error',
      '--location',
      '--connect-timeout',
      '15',
      '--output',
      archive,
      url,
    ]);
    const unpacked = join(deps, 'libtensorflow');
    await mkdir(unpacked);
    await run('tar', ['-xzf', archive, '-C', unpacked]);
    await run('rm', [archive]);
    await placeLibraries(deps, {
      main: '../libtensorflow/lib/libtensorflow.so.2',
      framework: '../libtensorflow/lib/libtensorflow_framework.so.2',
      include: 'libtensorflow/include',
    });
    return { placed: true, origin: url, variant: wanted };
  },
};

function unavailable(reason: string): Placed {
  return { placed: false, reason };
}
