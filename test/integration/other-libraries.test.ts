/**
 * Files of ours in the tools that they are for: Keras, PyTorch and Hugging Face's library, in the Python environment of the benchmark,
 * which is made at the first use (bench/python.ts). Where one of them cannot be had, its test is skipped and says why.
 */
import { createHash } from 'node:crypto';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test, type TestContext } from 'vitest';
import { z } from 'zod';
import { PeerPython, type PythonModule } from '../../bench/python.js';
import { loadEngine } from '../../worker/compute/engine/load.js';
import { requireTfjs } from '../../worker/compute/engine/tfjs.js';
import { exportKeras } from '../../worker/export/keras-model.js';
import { exportSafetensors } from '../../worker/export/safetensors-weights.js';
import { gpt2 } from '../../worker/models/gpt2/gpt2.js';
import { kerasModel } from '../../worker/models/keras/keras-model.js';
import { disposeModel } from '../../worker/models/layers/layer-units.js';
import { tfjsModel } from '../../worker/models/tfjs/tfjs-model.js';
import { exportTfjs } from '../../worker/export/tfjs-model.js';
import { goldenFolder, goldenNames, goldenOf, largestDifference } from '../support/keras-golden.js';
import { lockstepDone } from '../support/lockstep-command.js';
import { readTensors } from '../support/run-files.js';
import { silentLog } from '../unit/compute/toy.js';

/** Of outputs: in different orders of sums, float32 comes out differently. */
const tolerance = 1e-5;

/** Longer than bench/python.ts waits for all of them. */
const installsMs = 2_700_000;
/** Most of it goes to the import of TensorFlow or PyTorch. */
const scriptMs = 150_000;
const testMs = scriptMs + 30_000;

const script = fileURLToPath(new URL('../support/other_libraries.py', import.meta.url));
const tinyGpt2 = fileURLToPath(new URL('../golden/gpt2-tiny', import.meta.url));
const trained = join(tinyGpt2, 'final.safetensors');

const problems: string[] = [];
const python = new PeerPython({
  say: tell,
  skip: (why) => {
    problems.push(why);
    tell(why);
  },
});
const modules: readonly PythonModule[] = ['tensorflow', 'torch', 'safetensors', 'transformers'];

/** The reason of a skipped test is not in the usual report. */
function tell(line: string): void {
  process.stderr.write(`other-libraries.test.ts: ${line}\n`);
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lockstep-other-libraries-'));
  await loadEngine({ threads: 1, device: 'cpu', log: silentLog });
  for (const module of modules) await python.version(module);
}, installsMs);
afterAll(() => rm(folder, { recursive: true }));

function needs({ skip }: TestContext, ...needed: readonly PythonModule[]): void {
  skip(
    needed.some((module) => python.versions[module] === undefined),
    problems.join('; '),
  );
}

async function ask(...args: readonly string[]): Promise<unknown> {
  const { stdout } = await execa(python.executable, [script, ...args], { timeout: scriptMs });
  return JSON.parse(stdout.slice(stdout.indexOf('{')));
}

interface Inputs {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly values: readonly number[];
}

/** A file of them, as the script reads it. */
async function inputsFile(name: string, inputs: Inputs): Promise<string> {
  const path = join(folder, `${name}-inputs.json`);
  await writeFile(path, JSON.stringify(inputs));
  return path;
}

const predictionSchema = z.object({ prediction: z.array(z.number()) });
const outputsSchema = z.record(z.string(), z.array(z.number()));

test(
  'the golden models, written as .keras files, compute in Keras what they did there',
  { timeout: testMs },
  async (context) => {
    needs(context, 'tensorflow');
    const files: { readonly name: string; readonly path: string; readonly inputs: string }[] = [];
    for (const name of goldenNames) {
      const inputs = await inputsFile(name, goldenOf(name).x);
      files.push({ name, path: await withItsConfig(name), inputs });
      files.push({ name, path: await withConfigOfItsLayers(name), inputs });
    }
    const outputs = outputsSchema.parse(await ask('keras', ...files.flatMap(({ path, inputs }) => [path, inputs])));
    for (const { name, path } of files) {
      expect(largestDifference(outputs[path] ?? [], goldenOf(name).y.values), path).toBeLessThan(tolerance);
    }
  },
);

test(
  'adapters that were trained are in the matrices of a .keras file, which predicts in Keras what lockstep does',
  {
    timeout: testMs,
  },
  async (context) => {
    needs(context, 'tensorflow');
    const job = 'test/e2e/fixtures/fine-tuned-points.ts';
    const [run, file] = [join(folder, 'adapted'), join(folder, 'adapted.keras')];
    const options = ['--workers', '1', '--set', 'slots=2', '--set', 'threads=1', '--steps', '12'];
    await lockstepDone(['train', job, ...options, '--run-dir', run]);
    await lockstepDone(['export', run, '--format', 'keras', '--job', job, '--out', file]);
    const rows = Array.from({ length: 9 }, (_, row) =>
      Array.from({ length: 6 }, (__, at) => Math.sin(7 * row + 3 * at)),
    );
    const input = join(folder, 'adapted.jsonl');
    await writeFile(input, rows.map((x) => JSON.stringify({ x })).join('\n'));
    const { stdout } = await lockstepDone(['predict', job, '--checkpoint', run, '--input', input]);
    const ours = stdout.filter(Boolean).flatMap((line) => predictionSchema.parse(JSON.parse(line)).prediction);
    const inputs = await inputsFile('adapted', { shape: [rows.length, 6], dtype: 'float32', values: rows.flat() });
    const { [file]: theirs = [] } = outputsSchema.parse(await ask('keras', file, inputs));
    expect(ours).toHaveLength(27);
    expect(largestDifference(theirs, ours)).toBeLessThan(tolerance);
  },
);

/** As it was read from Keras's own file, with its config as it was. */
async function withItsConfig(name: string): Promise<string> {
  const model = await kerasModel(`${name}.keras`)({ baseDir: goldenFolder });
  const path = join(folder, `${name}.keras`);
  await exportKeras(model, path, silentLog);
  disposeModel(model);
  return path;
}

/** As it was read from TensorFlow.js's, which has no config of Keras 3. */
async function withConfigOfItsLayers(name: string): Promise<string> {
  const first = await kerasModel(`${name}.keras`)({ baseDir: goldenFolder });
  await exportTfjs(first, join(folder, name), silentLog);
  const model = await tfjsModel(`${name}/model.json`)({ baseDir: folder });
  const path = join(folder, `${name}-made.keras`);
  await exportKeras(model, path, silentLog);
  [first, model].forEach(disposeModel);
  return path;
}

describe('a safetensors file', () => {
  test('has the same tensors bit for bit in PyTorch', { timeout: testMs }, async (context) => {
    needs(context, 'torch', 'safetensors');
    const path = join(folder, 'weights.safetensors');
    await exportSafetensors({ path: trained, merging: null }, path, silentLog);
    const digests = [...readTensors(trained)].map(([name, { buffer }]) => [
      name,
      createHash('sha256').update(new Uint8Array(buffer)).digest('hex'),
    ]);
    expect(digests.length).toBeGreaterThan(20);
    expect(await ask('tensors', path)).toEqual(Object.fromEntries(digests));
  });

  test("of a GPT-2 has the same logits in Hugging Face's library", { timeout: testMs }, async (context) => {
    needs(context, 'torch', 'transformers');
    const [ours, theirs] = [join(folder, 'ours'), join(folder, 'theirs')];
    for (const copy of [ours, theirs]) await cp(tinyGpt2, copy, { recursive: true });
    await cp(trained, join(ours, 'model.safetensors'));
    await exportSafetensors({ path: trained, merging: null }, join(theirs, 'model.safetensors'), silentLog);
    const tokens = { shape: [2, 8], dtype: 'int64', values: Array.from({ length: 16 }, (_, at) => (at * 37) % 257) };
    const { [theirs]: logits = [] } = outputsSchema.parse(await ask('gpt2', theirs, await inputsFile('gpt2', tokens)));
    expect(largestDifference(logits, await logitsOf(ours, tokens))).toBeLessThan(tolerance);
  });
});

async function logitsOf(path: string, { shape, values }: Inputs): Promise<number[]> {
  const tf = requireTfjs();
  const model = await gpt2(path)({ baseDir: '/' });
  const logits = tf.tidy(() => {
    const tokens = tf.tensor([...values], [...shape], 'int32');
    return [...model.forward(model.parameters, tokens, { training: false }).dataSync<'float32'>()];
  });
  tf.dispose(Object.values(model.parameters));
  return logits;
}
