/**
 * Lockstep as a dependency: packed as npm would publish it, installed in an empty project, and used there by its command,
 * its library and its types. Packs what was last built.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const checkout = resolve(import.meta.dirname, '../..');
const installMs = 300_000;
const runMs = 60_000;

const job = `
import { adam, arrays, defineJob, tf } from 'lockstep';

const rows = Array.from({ length: 64 }, (_, row) => row);
const train = arrays({
  x: rows.map((row) => Array.from({ length: 8 }, (_, column) => ((row * 7 + column * 3) % 11) / 11)),
  y: rows.map((row) => row % 4),
});

export default defineJob({
  name: 'small',
  model: () =>
    tf.sequential({
      layers: [
        tf.layers.dense({ name: 'hidden', inputShape: [8], units: 16, activation: 'relu' }),
        tf.layers.dense({ name: 'output', units: 4, activation: 'softmax' }),
      ],
    }),
  loss: 'sparseCategoricalCrossentropy',
  metrics: ['accuracy'],
  data: { train },
  optimizer: adam({ learningRate: 0.01 }),
  batchSize: 16,
  epochs: 10,
});
`;

const wrongType = job.replace('batchSize: 16', "batchSize: '64'");
const unknownField = job.replace('epochs: 10', 'epoch: 10');

/** One file of the tarball, as `npm pack --json` lists it. */
interface PackedFile {
  readonly path: string;
  readonly size: number;
}

interface Packed {
  readonly filename: string;
  readonly size: number;
  readonly files: readonly PackedFile[];
}

interface Summary {
  readonly ok: boolean;
  readonly steps: number;
  readonly weightsSha256: string;
}

/** npm as a user's shell would start it: what the npm that runs these tests exports is left out. */
function npm(folder: string, args: readonly string[]) {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^npm_(lifecycle|package)|ignore_scripts$/i.test(name),
  );
  return execa('npm', args, { cwd: folder, env: Object.fromEntries(inherited), extendEnv: false, timeout: installMs });
}

let folder: string;
let packed: Packed;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lockstep-package-'));
  // Without scripts: `prepack` would build, under the feet of the tests that run what is built.
  const { stdout } = await npm(checkout, ['pack', '--json', '--ignore-scripts', '--pack-destination', folder]);
  const [only] = JSON.parse(stdout) as readonly Packed[]; // the format of `npm pack --json`
  if (!only) throw new Error(`npm pack packed nothing: ${stdout}`);
  packed = only;
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'empty', version: '1.0.0', private: true }));
  const quiet = ['--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts=false'];
  await npm(folder, ['install', ...quiet, join(folder, packed.filename)]);
  await Promise.all([
    writeFile(join(folder, 'job.ts'), job),
    writeFile(join(folder, 'job.mjs'), job),
    writeFile(join(folder, 'wrong-type.ts'), wrongType),
    writeFile(join(folder, 'unknown-field.ts'), unknownField),
  ]);
}, installMs);

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('the package', () => {
  test('holds the command, the library and its types', () => {
    const paths = packed.files.map(({ path }) => path);
    const needed = [
      'dist/bin/lockstep.js',
      'dist/index.js',
      'dist/index.d.ts',
      'dist/testing/index.js',
      'dist/testing/index.d.ts',
      'dist/worker/comm/comm-thread.js',
      'dist/worker/compute/engine/native/addon.cc',
      'dist/worker/comm/native/shared-pages.cc',
    ];
    expect(paths).toEqual(expect.arrayContaining([...needed, 'package.json', 'LICENSE', 'README.md']));
  });

  test('holds nothing but what is built and what people read', () => {
    const known =
      /^(dist\/(bin|coordinator|src|testing|transport|worker)\/.*\.(js|d\.ts)|dist\/worker\/(comm|compute\/engine)\/native\/[\w-]+\.(cc|h)|dist\/index\.(js|d\.ts)|[A-Z]+(\.md)?|package\.json)$/;
    expect(packed.files.map(({ path }) => path).filter((path) => !known.test(path))).toEqual([]);
  });

  test('is smaller than 1 MB, unpacked', () => {
    expect(packed.files.reduce((sum, { size }) => sum + size, 0)).toBeLessThan(1_000_000);
  });

  test('runs no script where it is installed', async () => {
    const manifest = JSON.parse(await readFile(join(checkout, 'package.json'), 'utf8')) as {
      readonly scripts: Readonly<Record<string, string>>;
    };
    expect(
      Object.keys(manifest.scripts).filter((name) => /^(pre|post)?install$|^(pre|post)?prepare$/.test(name)),
    ).toEqual([]);
  });
});

describe('in an empty project', () => {
  test('a TypeScript job trains to the same bits with one worker and with two', async () => {
    const one = await train('job.ts', ['--workers', '1', '--set', 'slots=2']);
    const two = await train('job.ts', ['--workers', '2', '--set', 'slots=2']);
    expect(one).toMatchObject({ ok: true, steps: 5 });
    expect(two.weightsSha256).toBe(one.weightsSha256);
    const other = await train('job.ts', ['--workers', '1', '--set', 'slots=2', '--set', 'seed=7']);
    expect(other.weightsSha256).not.toBe(one.weightsSha256);
  });

  test('a JavaScript job trains', async () => {
    expect(await train('job.mjs', ['--workers', '2'])).toMatchObject({ ok: true, steps: 5 });
  });

  test('a wrong job is one line with exit code 2, which names the field', async () => {
    const { exitCode, stderr } = await lockstep(['train', 'wrong-type.ts', '--steps', '5']);
    expect(stderr).toMatch(/^error: The job is not valid: batchSize: .*\[ERR_JOB_INVALID\]$/);
    expect(exitCode).toBe(2);
  });

  test('the compiler accepts a right job', async () => {
    expect(await compile('job.ts')).toEqual('');
  });

  test.each([
    ['wrong-type.ts', /^wrong-type\.ts\(\d+,3\): error TS2322: Type 'string' is not assignable to type 'number'/],
    ['unknown-field.ts', /^unknown-field\.ts\(\d+,3\): error TS2561: .*'epoch' does not exist in type 'JobDefinition'/],
  ])('the compiler marks the field of %s that is wrong, and nothing else', async (file, complaint) => {
    const said = await compile(file);
    expect(said).toMatch(complaint);
    expect(said.match(/error TS/g)).toHaveLength(1);
    expect(lineOf(file === 'wrong-type.ts' ? wrongType : unknownField, said)).toMatch(/batchSize: '64'|epoch: 10/);
  });
});

/** Plain JavaScript: this test is about the package, and leaves the user's engine alone. */
function lockstep(args: readonly string[]) {
  const options = { cwd: folder, reject: false, timeout: runMs, env: { LOCKSTEP_ENGINE: 'js' } } as const;
  return execa(join(folder, 'node_modules/.bin/lockstep'), args, options);
}

async function train(file: string, args: readonly string[]): Promise<Summary> {
  const summary = join(folder, 'summary.json');
  const { stderr } = await lockstep(['train', file, ...args, '--steps', '5', '--summary', summary]);
  expect(stderr).not.toContain('error:');
  return JSON.parse(await readFile(summary, 'utf8')) as Summary; // written by lockstep
}

/** What TypeScript, in its strictest settings, says about a file of the project. */
async function compile(file: string): Promise<string> {
  const tsc = join(checkout, 'node_modules/typescript/bin/tsc');
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--skipLibCheck'];
  const { stdout } = await execa(process.execPath, [tsc, ...options, file], {
    cwd: folder,
    reject: false,
    timeout: runMs,
  });
  return stdout;
}

/** The line of the text that a compiler's message points at. */
function lineOf(text: string, message: string): string {
  return text.split('\n')[Number(/\((\d+),/.exec(message)?.[1]) - 1] ?? '';
}
