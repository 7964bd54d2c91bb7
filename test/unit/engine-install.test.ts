/** Where TensorFlow is looked for, and what is said when a place does not have it; no tool is run here. */
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LockstepError } from '../../src/errors.js';
import { fetchTarball } from '../../worker/compute/engine/addon.js';
import { addonPath, findCurrent } from '../../worker/compute/engine/cache.js';
import type { Run } from '../../worker/compute/engine/command.js';
import { addNative, installEngine, type InstallOptions } from '../../worker/compute/engine/install.js';
import { placeLibraries } from '../../worker/compute/engine/libraries.js';
import {
  isNativeSettled,
  loadNative,
  nativePath,
  pagesAddon,
  stepAddon,
} from '../../worker/compute/engine/native-build.js';
import { sourcesFor, type Source } from '../../worker/compute/engine/sources.js';
import { cudaRequirements } from '../../worker/compute/engine/wheel.js';

// The matchers are typed any.
const containing = (text: string): unknown => expect.stringContaining(text);
const matching = (pattern: RegExp): unknown => expect.stringMatching(pattern);

let root: string;
let said: string[];
let commands: string[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'lockstep-engine-'));
  said = [];
  commands = [];
});

afterEach(() => rm(root, { recursive: true }));

/** Answers for the tools; a command that is not listed succeeds and prints nothing. */
function fakeRun(answers: Readonly<Record<string, string | Error>> = {}): Run {
  return async (command, args) => {
    const line = [command, ...args].join(' ');
    commands.push(line);
    const answer = Object.entries(answers).find(([start]) => line.includes(start))?.[1] ?? '';
    if (answer instanceof Error) throw answer;
    return answer;
  };
}

/** An installation in which the compiler writes a file and TensorFlow computes. */
function options(more: Partial<InstallOptions> = {}): InstallOptions {
  return {
    root,
    variant: 'cpu',
    say: (line) => said.push(line),
    env: {},
    run: fakeRun(),
    tarball: async () => 'the published tarball',
    test: async () => ({ product: [], tensorflow: '2.21.0', device: 'cpu' }),
    ...more,
  };
}

/** A source whose libraries are two small files. */
function source(name: string, content = name): Source {
  return {
    name,
    async place({ deps }) {
      const files = { main: join(root, name, 'main'), framework: join(root, name, 'framework') };
      await mkdir(join(root, name), { recursive: true });
      for (const file of Object.values(files)) await writeFile(file, content);
      await placeLibraries(deps, { ...files, include: root });
      // The compiler is not run here, so what it would leave is left now.
      const addon = addonPath(dirname(deps));
      await mkdir(dirname(addon), { recursive: true });
      await writeFile(addon, '');
      return { placed: true, origin: name, variant: 'cpu' };
    },
  };
}

const empty: Source = { name: 'empty', place: async () => ({ placed: false, reason: 'the shelf is empty' }) };

const broken: Source = {
  name: 'broken',
  place: async () => {
    throw new LockstepError('ERR_ENGINE_INSTALL', 'pip is not installed');
  },
};

describe('sourcesFor', () => {
  const names = (variant: 'cpu' | 'gpu') => sourcesFor(variant).map(({ name }) => name);

  test("looks at the user's build, python3, the wheel and the addon's download, in this order", () => {
    expect(names('cpu')).toEqual([
      'LOCKSTEP_LIBTENSORFLOW',
      'TensorFlow in python3',
      'the tensorflow-cpu 2.21.0 wheel',
      "tfjs-node's own download of libtensorflow 2.9.1",
    ]);
  });

  test('looks for CUDA first on a machine with a driver, and for a CPU build when all else failed', () => {
    expect(names('gpu')).toEqual([
      'LOCKSTEP_LIBTENSORFLOW',
      'TensorFlow in python3',
      'the tensorflow 2.21.0 wheel',
      "tfjs-node's own download of libtensorflow 2.9.1",
      'the tensorflow-cpu 2.21.0 wheel',
    ]);
  });

  async function reasonOf(name: string, env: Record<string, string>, run = fakeRun(), wanted: 'cpu' | 'gpu' = 'cpu') {
    const found = sourcesFor(wanted).find((candidate) => candidate.name === name);
    return found?.place({ deps: root, wanted, env, run, say: () => undefined });
  }

  test("says what a user's build lacks", async () => {
    const name = 'LOCKSTEP_LIBTENSORFLOW';
    expect(await reasonOf(name, {})).toEqual({ placed: false, reason: 'it is not set' });

    await mkdir(join(root, 'own', 'lib'), { recursive: true });
    const env = { LOCKSTEP_LIBTENSORFLOW: join(root, 'own') };
    expect(await reasonOf(name, env)).toMatchObject({
      reason: containing('has no libtensorflow_cc.so.2'),
    });

    for (const file of ['libtensorflow.so.2', 'libtensorflow_framework.so.2'])
      await writeFile(join(root, 'own', 'lib', file), '');
    expect(await reasonOf(name, env)).toMatchObject({ reason: containing('c_api.h is missing') });
  });

  test('passes over a TensorFlow in python3 that is not there, or cannot use the GPU', async () => {
    const name = 'TensorFlow in python3';
    const none = fakeRun({ python3: '{"folder": null, "cuda": false}' });
    expect(await reasonOf(name, {}, none)).toMatchObject({ reason: 'python3 has no package tensorflow' });

    const noCuda = fakeRun({ python3: '{"folder": "/site/tensorflow", "cuda": false}' });
    expect(await reasonOf(name, {}, noCuda, 'gpu')).toMatchObject({
      reason: 'the TensorFlow in /site/tensorflow was built without CUDA',
    });
  });
});

describe('installEngine', () => {
  test('takes the first source that works and remembers why the others did not', async () => {
    const manifest = await installEngine(options({ sources: [empty, broken, source('third'), source('fourth')] }));

    expect(manifest).toMatchObject({ source: 'third', tensorflow: '2.21.0', variant: 'cpu' });
    expect(said).toContain('not from empty: the shelf is empty');
    expect(said).toContain('not from broken: pip is not installed');
    expect(findCurrent(root)).toMatchObject({ found: true, manifest: { source: 'third' } });
  });

  test('refuses a TensorFlow that was built and does not compute', async () => {
    const crash = new LockstepError('ERR_ENGINE_INSTALL', 'node failed with signal SIGILL: it said nothing');
    let numTests = 0;
    const test = async () => {
      numTests += 1;
      if (numTests === 1) throw crash;
      return { product: [], tensorflow: '2.9.1', device: 'cpu' as const };
    };
    const manifest = await installEngine(options({ sources: [source('crashing'), source('older')], test }));

    expect(manifest.source).toBe('older');
    expect(said).toContain('not from crashing: node failed with signal SIGILL: it said nothing');
  });

  test('fails with every reason when nothing works, and leaves nothing behind', async () => {
    const failure = installEngine(options({ sources: [empty, broken] }));

    await expect(failure).rejects.toMatchObject({
      code: 'ERR_ENGINE_INSTALL',
      message: matching(/empty: the shelf is empty\n {2}broken: pip is not installed\n.*again/),
    });
    expect(findCurrent(root)).toEqual({ found: false, reason: 'no engine is installed' });
    expect(await readdir(join(root, 'engines'))).toEqual([]);
  });

  test('says how to get a compiler before anything is downloaded', async () => {
    const run = fakeRun({ '--version': new LockstepError('ERR_ENGINE_INSTALL', 'g++ is not installed') });

    await expect(installEngine(options({ run, sources: [source('any')] }))).rejects.toThrow(
      /needs a C\+\+ compiler, and g\+\+ is not installed\. .*apt install g\+\+/,
    );
    expect(commands).toHaveLength(1);
  });

  test('lets two installs run at once, and each leaves a whole engine', async () => {
    const installs = ['one', 'other'].map((name) => installEngine(options({ sources: [source(name)] })));
    const manifests = await Promise.all(installs);

    const engines = await readdir(join(root, 'engines'));
    expect(engines).toHaveLength(2);
    expect(new Set(engines.map((name) => name.replace(/\.[0-9a-f]{8}$/, '')))).toEqual(
      new Set(manifests.map(({ key }) => key)),
    );
    expect(findCurrent(root)).toMatchObject({ found: true });
  });

  test('removes engines that nobody uses after a day, and not one of another platform', async () => {
    const engines = join(root, 'engines');
    for (const name of ['.building-old', 'replaced', 'in-use-on-arm'])
      await mkdir(join(engines, name), { recursive: true });
    await writeFile(join(root, 'current-linux-arm64.json'), '{"engine":"in-use-on-arm"}');
    await mkdir(join(engines, 'of-today'));
    const twoDaysAgo = new Date(Date.now() - 2 * 24 * 60 * 60_000);
    for (const name of ['.building-old', 'replaced', 'in-use-on-arm'])
      await utimes(join(engines, name), twoDaysAgo, twoDaysAgo);

    await installEngine(options({ sources: [source('new')] }));
    const left = (await readdir(engines)).filter((name) => !name.startsWith('tfjs-node-'));
    expect(left).toEqual(['in-use-on-arm', 'of-today']);
  });
});

describe("Lockstep's own addon", () => {
  const runOf = (onBuild: (path: string) => Promise<void>): Run => {
    const others = fakeRun();
    return async (command, args, runOptions) => {
      const output = args[args.indexOf('-o') + 1] ?? '';
      if (/(lockstep|pages)\.node$/.test(output)) await onBuild(output);
      return others(command, args, runOptions);
    };
  };
  const engineDirectory = () => {
    const current = findCurrent(root);
    if (!current.found) throw new Error(current.reason);
    return current.directory;
  };

  test('is built with the engine, from its sources', async () => {
    const run = runOf((path) => writeFile(path, 'the addon'));
    await installEngine(options({ run, sources: [source('any')] }));
    expect(await readFile(nativePath(engineDirectory(), stepAddon), 'utf8')).toBe('the addon');
    expect(commands.join('\n')).toMatch(/ \S+\/native\/addon\.cc .* \S+\/native\/store_op\.cc /);
    expect(await readFile(nativePath(engineDirectory(), pagesAddon), 'utf8')).toBe('the addon');
    expect(commands.join('\n')).toMatch(/ \S+\/native\/shared-pages\.cc -o /);
    expect(isNativeSettled(engineDirectory())).toBe(true);
  });

  test('that cannot be built leaves an engine without it, which says why', async () => {
    const run = runOf(() => Promise.reject(new LockstepError('ERR_ENGINE_INSTALL', 'g++ failed with exit code 1')));
    const { source: from } = await installEngine(options({ run, sources: [source('any')] }));
    expect(from).toBe('any');
    expect(said.at(-1)).toMatch(/cannot be built, .* slower: g\+\+ failed with exit code 1$/);
    expect(await loadNative(engineDirectory())).toEqual({
      reason: 'g++ failed with exit code 1 (`lockstep engine install` builds it)',
    });
    // Nobody tries again until someone asks.
    expect(isNativeSettled(engineDirectory())).toBe(true);
  });

  test('is added to an engine of another version, which is then whole', async () => {
    const run = runOf((path) => writeFile(path, 'the addon'));
    await installEngine(options({ run, sources: [source('any')] }));
    const directory = engineDirectory();
    await rm(nativePath(directory, stepAddon));
    expect(isNativeSettled(directory)).toBe(false);
    expect(await loadNative(directory)).toMatchObject({ reason: containing('not built for this version') });
    await addNative(directory, { run, say: (line) => said.push(line) });
    expect(await readFile(nativePath(directory, stepAddon), 'utf8')).toBe('the addon');
    expect(await loadNative(directory)).toMatchObject({ reason: containing('lockstep-') });
  });
});

describe('findCurrent', () => {
  test('does not use an engine whose library was replaced since it was linked', async () => {
    await installEngine(options({ sources: [source('site-packages', 'version 1')] }));
    expect(findCurrent(root).found).toBe(true);

    await writeFile(join(root, 'site-packages', 'main'), 'version 2, upgraded by pip');
    expect(findCurrent(root)).toMatchObject({
      found: false,
      reason: matching(/libtensorflow\.so was replaced since it was linked \(9 bytes then, 26 now\)/),
    });
  });

  test('does not use an engine of another version of tfjs-node', async () => {
    const { key } = await installEngine(options({ sources: [source('any')] }));
    const [name = ''] = await readdir(join(root, 'engines'));
    expect(name.startsWith(key)).toBe(true);
    const path = join(root, 'engines', name, 'engine.json');
    await writeFile(path, (await readFile(path, 'utf8')).replace('"tfjsNode": "4.22.0"', '"tfjsNode": "4.23.0"'));

    expect(findCurrent(root)).toEqual({
      found: false,
      reason: 'the engine is for tfjs-node 4.23.0, this Lockstep needs 4.22.0',
    });
  });

  test('answers with a reason when its file is damaged', async () => {
    await writeFile(join(root, `current-${process.platform}-${process.arch}.json`), '{"engine":');
    expect(findCurrent(root)).toMatchObject({ found: false, reason: containing('cannot be read') });
  });
});

describe('fetchTarball', () => {
  /** An `npm pack` that writes these bytes. */
  const packing =
    (bytes: string): Run =>
    async (command, args) => {
      commands.push([command, ...args].join(' '));
      await writeFile(join(args.at(-1) ?? '', 'tensorflow-tfjs-node-gpu-4.22.0.tgz'), bytes);
      return '';
    };

  test('refuses a tarball that is not the one published, and keeps none', async () => {
    await expect(fetchTarball(root, packing('something else'))).rejects.toMatchObject({
      code: 'ERR_ENGINE_INSTALL',
      message: matching(/its hash is sha512-.*, expected sha512-p\/\/NN6DG/),
    });
    expect(await readdir(join(root, 'downloads'))).toEqual([]);
  });

  test('asks the registry again when the kept tarball is damaged', async () => {
    await mkdir(join(root, 'downloads'));
    await writeFile(join(root, 'downloads', 'tensorflow-tfjs-node-gpu-4.22.0.tgz'), 'half of i');

    await expect(fetchTarball(root, packing('still wrong'))).rejects.toThrow(/its hash is/);
    expect(commands).toEqual([containing('npm pack @tensorflow/tfjs-node-gpu@4.22.0 --ignore-scripts')]);
  });
});

test('the CUDA packages of a wheel are those of its extra and-cuda', () => {
  // Lines of tensorflow 2.21.0's METADATA; the third form is the older one of pip's specification.
  const metadata = [
    'Name: tensorflow',
    'Requires-Dist: numpy>=1.26.0',
    'Requires-Dist: nvidia-cublas-cu12<13.0,>=12.5.3.2; extra == "and-cuda"',
    "Requires-Dist: nvidia-nccl-cu12 (<3.0,>=2.27.7) ; extra == 'and-cuda'",
    'Requires-Dist: tensorflow-io-gcs-filesystem>=0.23.1; python_version < "3.13" and extra == "gcs-filesystem"',
  ].join('\n');

  expect(cudaRequirements(metadata)).toEqual(['nvidia-cublas-cu12<13.0,>=12.5.3.2', 'nvidia-nccl-cu12<3.0,>=2.27.7']);
});
