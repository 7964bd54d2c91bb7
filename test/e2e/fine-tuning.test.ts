/** Fine-tuning keeps the promise: adapters, frozen parameters, schedules, clipping and averages, all in one job. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { loadEngine } from '../../worker/compute/engine/load.js';
import { kerasModel } from '../../worker/models/keras/keras-model.js';
import { disposeModel } from '../../worker/models/layers/layer-units.js';
import { JobFolder } from '../support/job-folder.js';
import { largestDifference, outputOf, weightsOf } from '../support/keras-golden.js';
import { lockstepDone } from '../support/lockstep-command.js';
import { checkpointFiles, readMetrics, readSummary, readTensors, readTfjsWeights } from '../support/run-files.js';
import { silentLog } from '../unit/compute/toy.js';

const predictionSchema = z.object({ prediction: z.array(z.number()).length(3) });

const job = 'test/e2e/fixtures/fine-tuned-points.ts';
const numSteps = 36;
const sharded = ['--set', 'optimizer.sharded=true'];

let folder: JobFolder;
beforeAll(async () => {
  folder = await JobFolder.make();
});
afterAll(() => folder[Symbol.asyncDispose]());

async function train(name: string, ...options: readonly string[]) {
  return trainIn({}, name, ...options);
}

async function trainIn(env: Readonly<Record<string, string>>, name: string, ...options: readonly string[]) {
  const runDir = folder.at(name);
  const files = ['--run-dir', runDir, '--summary', `${runDir}.json`];
  await lockstepDone(['train', job, '--set', 'slots=4', '--set', 'threads=1', ...files, ...options], { env });
  const summary = readSummary(`${runDir}.json`);
  return { ...summary, lines: readMetrics(runDir), tensors: readTensors(summary.checkpoint ?? '') };
}

type Run = Awaited<ReturnType<typeof train>>;

let reference: Run;
beforeAll(async () => {
  reference = await train('one', '--workers', '1');
});

function expectSameBits({ weightsSha256, lines, tensors, steps }: Run): void {
  expect(steps).toBe(numSteps);
  expect(lines).toEqual(reference.lines);
  expect(weightsSha256).toBe(reference.weightsSha256);
  expect(tensors).toEqual(reference.tensors); // moments and averages too
}

test('only what is trained changes, has moments and an average', async () => {
  const early = await train('early', '--workers', '1', '--steps', '1');
  const trained = ['first/kernel/lora_a', 'first/kernel/lora_b', 'head/bias', 'head/kernel', 'second/kernel'];
  const parameters = [...reference.tensors.keys()].filter((name) => !name.startsWith('optimizer/'));
  const isSame = (name: string): boolean => String(reference.tensors.get(name)) === String(early.tensors.get(name));
  const still = ['first/bias', 'first/kernel', 'norm/beta', 'norm/gamma', 'second/bias'];
  expect(parameters.filter(isSame).toSorted()).toEqual(still);
  for (const region of ['moment1', 'moment2', 'average']) {
    const prefix = `optimizer/${region}/`;
    const names = [...reference.tensors.keys()].filter((name) => name.startsWith(prefix));
    expect(names.map((name) => name.slice(prefix.length)).toSorted()).toEqual(trained);
  }
  // The first step has a rate of 0: weights and averages are the first weights.
  for (const name of trained) {
    const [weights, averages] = [early.tensors.get(name), early.tensors.get(`optimizer/average/${name}`)];
    const differences = Array.from(weights ?? [], (weight, at) => Math.abs(weight - (averages?.[at] ?? NaN)));
    expect(Math.max(...differences), name).toBeLessThan(1e-6);
  }
  expect(reference.metrics.val_accuracy).toBeGreaterThan(0.8);
  expect(reference.compiled).toBe(reference.engine?.startsWith('tensorflow'));
});

test.each([
  { how: '2 workers', name: 'two', options: ['--workers', '2'] },
  { how: '4 workers over their links', name: 'four', options: ['--workers', '4', '--chaos', 'delay:1=1ms@3'] },
  { how: '3 workers, of which one is killed', name: 'killed', options: ['--workers', '3', '--chaos', 'kill:1@14'] },
  { how: '4 workers that share out the moments', name: 'shared', options: ['--workers', '4', ...sharded] },
  {
    how: '2 workers that share out the moments, of which one is killed',
    name: 'shared-killed',
    options: ['--workers', '2', ...sharded, '--chaos', 'kill:1@14'],
  },
])('$how give the bits of one', async ({ name, options }) => {
  expectSameBits(await train(name, ...options));
});

test('a run that was stopped goes on to the same bits with other workers', async () => {
  const stopped = await train('stopped', '--workers', '2', '--steps', '17');
  expect(stopped.steps).toBe(17);
  expectSameBits(await train('stopped', '--resume', '--workers', '3'));
});

test('adapters are new where the first weights are those of a model without them', async () => {
  const base = await trainIn({ PRETRAINING: '1' }, 'base', '--workers', '1', '--steps', '2');
  const { tensors } = await train(
    'tuned',
    '--workers',
    '1',
    '--steps',
    '1',
    '--set',
    `initialWeights=${base.checkpoint}`,
  );
  expect(base.tensors.has('first/kernel/lora_a')).toBe(false);
  // The first step has a rate of 0.
  for (const name of ['first/kernel', 'head/kernel', 'optimizer/average/head/kernel']) {
    const averages = `optimizer/average/${name.replace('optimizer/average/', '')}`;
    const [weights, expected] = [tensors.get(name), base.tensors.get(averages)];
    const differences = Array.from(weights ?? [NaN], (weight, at) => Math.abs(weight - (expected?.[at] ?? NaN)));
    expect(Math.max(...differences), name).toBeLessThan(1e-6);
  }
  expect(tensors.get('first/kernel/lora_a')?.some((value) => value !== 0)).toBe(true);
});

describe('outside of their run', () => {
  test('the averages are what is evaluated, as they were validated, to the last bit, whatever adapters are next', async () => {
    const next = ['--set', 'lora.alpha=9'];
    const { stdout } = await lockstepDone(['evaluate', job, '--checkpoint', folder.at('one'), '--json', ...next]);
    const { val_loss: loss, val_accuracy: accuracy } = reference.metrics;
    expect(JSON.parse(stdout.join(''))).toMatchObject({ step: numSteps, loss, metrics: { accuracy } });
  });

  test('the averages are what is exported, with adapters in their matrices', async () => {
    const [out, tfjs] = [folder.at('merged.safetensors'), folder.at('merged')];
    await lockstepDone(['export', folder.at('one'), '--format', 'safetensors', '--out', out]);
    const found = readTensors(out);
    const { tensors } = reference;
    const ofLayers = [...tensors.keys()].filter((name) => !/^optimizer\/|\/lora_[ab]$/.test(name));
    expect([...found.keys()].toSorted()).toEqual(ofLayers.toSorted());
    for (const name of ofLayers.filter((one) => one !== 'first/kernel')) {
      expect(found.get(name), name).toEqual(tensors.get(`optimizer/average/${name}`) ?? tensors.get(name));
    }
    expectMerged(found.get('first/kernel'));

    await lockstepDone(['export', folder.at('one'), '--format', 'tfjs', '--job', job, '--out', tfjs]);
    expect(readTfjsWeights(tfjs)).toEqual(found);
  });

  test('a .keras file has the same merged weights to the last bit, and predicts what the run does', async () => {
    const [keras, safetensors] = [folder.at('merged.keras'), folder.at('merged-again.safetensors')];
    await lockstepDone(['export', folder.at('one'), '--format', 'keras', '--job', job, '--out', keras]);
    await lockstepDone(['export', folder.at('one'), '--format', 'safetensors', '--out', safetensors]);
    const predictions = await predict(folder.at('one'), rows);
    await loadEngine({ threads: 1, device: 'cpu', log: silentLog });
    const model = await kerasModel('merged.keras')({ baseDir: folder.at() });
    const { values } = outputOf(model, { shape: [rows.length, 6], dtype: 'float32', values: rows.flat() });
    const weights = weightsOf(model);
    disposeModel(model);
    expect(weights).toEqual(new Map([...readTensors(safetensors)].map(([name, found]) => [name, hexOf(found)])));
    expect(largestDifference(values, predictions)).toBeLessThan(1e-5);
  });
});

const rows = Array.from({ length: 20 }, (_, row) =>
  Array.from({ length: 6 }, (__, column) => Number(column % 3 === row % 3) + Math.sin(7 * row + 3 * column)),
);

async function predict(checkpoint: string, inputs: readonly (readonly number[])[]): Promise<number[]> {
  const input = await folder.write('rows.jsonl', inputs.map((row) => JSON.stringify({ x: row })).join('\n'));
  const { stdout } = await lockstepDone(['predict', job, '--checkpoint', checkpoint, '--input', input]);
  const lines = stdout.filter(Boolean).map((line) => predictionSchema.parse(JSON.parse(line)));
  return lines.flatMap(({ prediction }) => prediction);
}

const hexOf = ({ buffer, byteOffset, byteLength }: Float32Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('hex');

/** [6, 16] + 4/2 · [6, 2] · [2, 16]: fine-tuned-points.ts has rank and alpha. */
function expectMerged(found: Float32Array | undefined): void {
  const at = (name: string, index: number): number => reference.tensors.get(name)?.[index] ?? NaN;
  const [a, b] = ['a', 'b'].map((which) => `optimizer/average/first/kernel/lora_${which}`) as [string, string];
  const expected = Array.from({ length: 6 * 16 }, (_, index) => {
    const [row, column] = [Math.floor(index / 16), index % 16];
    const product = at(a, 2 * row) * at(b, column) + at(a, 2 * row + 1) * at(b, 16 + column);
    return at('first/kernel', index) + 2 * product;
  });
  expect(found).toHaveLength(expected.length);
  const differences = expected.map((value, index) => Math.abs(value - (found?.[index] ?? NaN)));
  expect(Math.max(...differences)).toBeLessThan(1e-6);
}

test('a run goes on with what it began with alone', async () => {
  await train('changed', '--workers', '1', '--steps', '2');
  const changed = train(
    'changed',
    '--resume',
    '--workers',
    '1',
    '--set',
    'lora.rank=3',
    '--set',
    'optimizer.clipNorm=1',
  );
  await expect(changed).rejects.toThrow(/lora was .*optimizer was .*ERR_RESUME_MISMATCH/s);
});

describe('a run whose validation gets no better', () => {
  // Epochs of 12 steps: the first is the best, the second no better, which is known one step later.
  const never = '{"metric":"val_loss","minDelta":100,"patience":1}';
  const sets = ['--set', `best=${never}`, '--set', 'checkpointsKept=2'];
  let patient: Run;
  beforeAll(async () => {
    patient = await train('patient', '--workers', '1', ...sets);
  });

  test('ends one step later, and keeps its best checkpoint', async () => {
    expect(patient).toMatchObject({ steps: 25, ok: true });
    expect(checkpointFiles(folder.at('patient'))).toEqual([
      'best.json',
      'best.safetensors',
      'step-00000024.safetensors',
      'step-00000025.safetensors',
    ]);
    const oneEpoch = await train('one-epoch', '--workers', '1', '--steps', '12');
    expect(readTensors(folder.at('patient', 'checkpoints', 'best.safetensors'))).toEqual(oneEpoch.tensors);
  });

  test.each([
    {
      how: '3 workers, of which one is killed before that step',
      name: 'patient-3',
      steps: [],
      last: ['--chaos', 'kill:1@24'],
    },
    {
      how: 'a run that was stopped before that step',
      name: 'patient-cut',
      steps: ['--steps', '24'],
      last: ['--resume'],
    },
  ])('ends after the same step with the same bits: $how', async ({ name, steps, last }) => {
    if (steps.length > 0) await train(name, '--workers', '1', ...steps, ...sets);
    const { weightsSha256, lines, tensors, ...ended } = await train(name, '--workers', '3', ...last, ...sets);
    expect({ steps: ended.steps, weightsSha256 }).toEqual({ steps: 25, weightsSha256: patient.weightsSha256 });
    expect(lines).toEqual(patient.lines);
    expect(tensors).toEqual(patient.tensors);
  });
});
