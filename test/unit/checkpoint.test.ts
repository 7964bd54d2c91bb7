import { createHash } from 'node:crypto';
import { copyFile, mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { assignSlots } from '../../src/collective/assignment.js';
import { planAllReduce, type AllReducePlan } from '../../src/collective/plan.js';
import { ownedRanges } from '../../src/collective/shard.js';
import { assert } from '../../src/errors.js';
import type { Log } from '../../src/log.js';
import { adam, adamw, type OptimizerConfig, sgd } from '../../src/optimizer/config.js';
import { momentRegions } from '../../src/optimizer/optimizer.js';
import type { CheckpointFacts } from '../../src/state/checkpoint.js';
import { weightsDigest } from '../../src/state/digest.js';
import { planLayout } from '../../src/state/layout.js';
import { FlatMemory } from '../../src/state/memory.js';
import type { ParameterSpec } from '../../src/state/parameter.js';
import type { CheckpointFiles } from '../../worker/checkpoint/checkpoint-files.js';
import {
  checkpointPath,
  keepCheckpoint,
  latestCheckpoint,
  pruneCheckpoints,
} from '../../worker/checkpoint/checkpoint-folder.js';
import { readCheckpoint, readCheckpointHeader, verifyCheckpoint } from '../../worker/checkpoint/checkpoint-reader.js';
import { writeCheckpoint } from '../../worker/checkpoint/checkpoint-writer.js';
import { writeAndPrune } from '../../worker/checkpoint/checkpoints.js';
import { localFiles } from '../../worker/checkpoint/local-files.js';
import type { Sharding } from '../../worker/checkpoint/tensors.js';
import { planRegions } from '../../worker/comm/regions.js';

const model: ParameterSpec[] = [
  { name: 'dense/kernel', shape: [7, 5], trainable: true },
  { name: 'norm/mean', shape: [5], trainable: false },
  { name: 'dense/bias', shape: [5], trainable: true },
  { name: 'temperature', shape: [], trainable: true },
];

const facts: CheckpointFacts = {
  runId: 'digits-2f6c',
  step: 50,
  position: { epoch: 1, stepInEpoch: 23 },
  sampler: { rows: 1728, batchSize: 64, slots: 2, seed: 7, shuffle: true, lastBatch: 'drop' },
  job: { name: 'digits', epochs: 20, metrics: ['accuracy'], initialWeights: null },
  optimizer: adam(),
  engine: 'tensorflow 2.21.0 cpu',
  lockstepVersion: '0.1.0',
};

let folder: string;
let warnings: string[];
const log: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: (line) => warnings.push(line),
  error: () => undefined,
};

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lockstep-checkpoint-'));
  warnings = [];
});

afterEach(() => rm(folder, { recursive: true }));

function createMemory(
  parameters = model,
  optimizer: OptimizerConfig = adam(),
  maxSegmentElements?: number,
): FlatMemory {
  const layout = planLayout(parameters, 2, maxSegmentElements === undefined ? {} : { maxSegmentElements });
  const elements = layout.segments.map((segment) => segment.elements);
  const names = ['parameters', ...momentRegions(optimizer)];
  return FlatMemory.create(
    layout,
    names.map((name) => ({ name, elements })),
  );
}

/** Every value of every region is another one; the gaps stay zero. */
function fill(memory: FlatMemory, optimizer: OptimizerConfig = adam(), seed = 1): FlatMemory {
  let next = seed;
  for (const region of ['parameters', ...momentRegions(optimizer)]) {
    for (const parameter of memory.layout.parameters) {
      if (region !== 'parameters' && !parameter.trainable) continue;
      memory.parameterView(region, parameter).forEach((_, i, all) => (all[i] = Math.sin(next++)));
    }
  }
  return memory;
}

function contents(memory: FlatMemory, optimizer: OptimizerConfig = adam()): Record<string, number[]> {
  const entries = ['parameters', ...momentRegions(optimizer)].flatMap((region) =>
    memory.layout.parameters.map((parameter): [string, number[]] => [
      `${region} ${parameter.name}`,
      Array.from(memory.parameterView(region, parameter)),
    ]),
  );
  return Object.fromEntries(entries);
}

function sha256(memory: FlatMemory): string {
  const hash = createHash('sha256');
  weightsDigest(memory.layout, memory, hash);
  return hash.digest('hex');
}

const write = (memory: FlatMemory, step = 50, optimizer: OptimizerConfig = facts.optimizer) =>
  writeCheckpoint({ path: checkpointPath(folder, step), memory, facts: { ...facts, step, optimizer }, log });

const failure = (code: string, ...messages: string[]): unknown =>
  expect.objectContaining({
    code,
    message: expect.stringMatching(new RegExp(messages.map(escape).join('.*'))) as string,
  });

const escape = (text: string) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');

describe('a checkpoint of shared moments', () => {
  const whole = adam({ averageDecay: 0.9 });
  const sharded = adam({ sharded: true, averageDecay: 0.9 });
  const numWorkers = 3;

  interface Cut {
    /** Elements. */
    readonly segment: number;
    readonly bucketBytes: number;
  }

  /** One worker's memory, and how moments are shared out with the others. */
  function shareOf(rank: number, size: Cut): { memory: FlatMemory; plan: AllReducePlan } {
    const layout = planLayout(model, 2, { maxSegmentElements: size.segment });
    const workers = assignSlots(numWorkers, numWorkers).map((range) => ({ ...range, hostId: 'here' }));
    const { segments } = layout;
    const setting = {
      generation: 1,
      slots: numWorkers,
      workers,
      segments,
      bucketBytes: size.bucketBytes,
      sharded: true,
    };
    const plan = planAllReduce({ ...setting, rank });
    return { memory: FlatMemory.create(layout, planRegions({ layout, plan, optimizer: sharded })), plan };
  }

  const sharding = (plan: AllReducePlan, gather: Sharding['gather'] = () => Promise.resolve()): Sharding => {
    return { ranges: ownedRanges(plan), buckets: plan.buckets, gather };
  };

  it.each([
    { cut: 'several parts of a parameter', segment: 48, bucketBytes: 128 },
    { cut: 'several parameters in a part', segment: 512, bucketBytes: 4096 },
  ])('leaves each worker its own part, and the parts make up the file again: $cut', async (size) => {
    const memory = fill(createMemory(model, whole, size.segment), whole);
    await write(memory, 50, whole);
    const shares = Array.from({ length: numWorkers }, (_, rank) => shareOf(rank, size));
    for (const { memory: own, plan } of shares) {
      const path = checkpointPath(folder, 50);
      await readCheckpoint({ path, memory: own, optimizer: sharded, sharding: sharding(plan) });
    }
    const [first] = shares;
    assert(first, 'there are three');
    const path = join(folder, 'again');
    const gather: Sharding['gather'] = (region, index) => {
      assert(region !== 'average', 'rank 0 has it whole');
      const bucket = first.plan.buckets[index];
      assert(bucket, 'there is such a bucket');
      for (const { memory: from, plan } of shares) {
        for (const { bucket: of, segment, offset, elements, at } of ownedRanges(plan)) {
          if (of !== index) continue;
          const part = from.view(region, segment).subarray(at, at + elements);
          first.memory.view('gathered', segment).set(part, offset - bucket.offset);
        }
      }
      return Promise.resolve();
    };
    const facts50 = { ...facts, step: 50, optimizer: whole };
    await writeCheckpoint({ path, memory: first.memory, facts: facts50, sharding: sharding(first.plan, gather), log });
    expect(await readFile(path)).toEqual(await readFile(checkpointPath(folder, 50)));
  });
});

describe('a checkpoint', () => {
  it('gives back all parameters, moments and facts', async () => {
    const memory = fill(createMemory());
    const written = await write(memory);
    const restored = createMemory();
    const path = checkpointPath(folder, 50);
    const checkpoint = await readCheckpoint({ path, memory: restored, optimizer: adam() });
    expect(contents(restored)).toEqual(contents(memory));
    expect(checkpoint).toMatchObject({ ...facts, format: 'lockstep-checkpoint-2', weightsSha256: sha256(memory) });
    expect(written?.weightsSha256).toBe(sha256(memory));
    expect(await readCheckpointHeader(path)).toEqual(checkpoint);
    expect(await readdir(folder)).toEqual(['step-00000050.safetensors']);
  });

  it.each([
    { value: NaN, best: Infinity },
    { value: -Infinity, best: 0.1 },
  ])('gives back validations that are not finite: $value, and $best as the best', async (numbers) => {
    const validations = { metric: 'val_loss', ...numbers, count: 2 };
    const path = join(folder, 'not-finite');
    await writeCheckpoint({ path, memory: fill(createMemory()), facts: { ...facts, validations }, log });
    expect((await verifyCheckpoint(path)).validations).toEqual(validations);
  });

  it('does not depend on how the flat state is cut in segments', async () => {
    const whole = fill(createMemory());
    await write(whole, 1);
    const cut = createMemory(model, adam(), 48);
    expect(cut.layout.segments).toHaveLength(3);
    await readCheckpoint({ path: checkpointPath(folder, 1), memory: cut, optimizer: adam() });
    expect(contents(cut)).toEqual(contents(whole));
    await write(cut, 2);
    const [a, b] = await Promise.all([1, 2].map((step) => readFile(checkpointPath(folder, step))));
    const data = (file?: Buffer) => file?.subarray(8 + Number(file.readBigUInt64LE(0)));
    expect(data(b)).toEqual(data(a));
  });

  it('holds tensors larger than one piece', async () => {
    const large: ParameterSpec[] = [{ name: 'embedding', shape: [1500, 1001], trainable: true }];
    const memory = fill(createMemory(large, sgd()), sgd());
    await writeCheckpoint({ path: join(folder, 'large'), memory, facts: { ...facts, optimizer: sgd() }, log });
    const restored = createMemory(large, sgd());
    await readCheckpoint({ path: join(folder, 'large'), memory: restored, optimizer: sgd() });
    expect(sha256(restored)).toBe(sha256(memory));
  });

  it('replaces one of the same step', async () => {
    await write(fill(createMemory(), adam(), 1));
    const newer = fill(createMemory(), adam(), 1000);
    await write(newer);
    const restored = createMemory();
    await readCheckpoint({ path: checkpointPath(folder, 50), memory: restored, optimizer: adam() });
    expect(contents(restored)).toEqual(contents(newer));
  });

  it('can continue with another learning rate, and with AdamW after Adam', async () => {
    await write(fill(createMemory()));
    for (const optimizer of [adam({ learningRate: 0.5 }), adamw()]) {
      const path = checkpointPath(folder, 50);
      await expect(readCheckpoint({ path, memory: createMemory(), optimizer })).resolves.toMatchObject({ step: 50 });
    }
  });
});

describe('reading a checkpoint refuses', () => {
  const path = () => checkpointPath(folder, 50);
  const read = (memory = createMemory(), optimizer: OptimizerConfig = adam()) =>
    readCheckpoint({ path: path(), memory, optimizer });

  beforeEach(async () => {
    await write(fill(createMemory()));
  });

  it('another model, with what is in the file and what is in the model', async () => {
    const other: ParameterSpec[] = [
      { name: 'dense/kernel', shape: [5, 7], trainable: true },
      { name: 'norm/mean', shape: [5], trainable: false },
      { name: 'dense/offset', shape: [5], trainable: true },
      { name: 'temperature', shape: [], trainable: false },
    ];
    const error = await read(createMemory(other)).catch((thrown: unknown) => thrown);
    expect(error).toEqual(
      failure('ERR_RESUME_MISMATCH', '"dense/kernel" is F32 [7, 5] in the file and F32 [5, 7] in the model', 'and'),
    );
    expect((error as { details: { differences: string[] } }).details.differences).toEqual([
      '"dense/kernel" is F32 [7, 5] in the file and F32 [5, 7] in the model',
      'the file has no "dense/offset"',
      '"optimizer/moment1/dense/kernel" is F32 [7, 5] in the file and F32 [5, 7] in the model',
      'the file has no "optimizer/moment1/dense/offset"',
      '"optimizer/moment2/dense/kernel" is F32 [7, 5] in the file and F32 [5, 7] in the model',
      'the file has no "optimizer/moment2/dense/offset"',
      'the model has no "dense/bias"',
      'the model has no "optimizer/moment1/dense/bias"',
      'the model has no "optimizer/moment1/temperature"',
      'the model has no "optimizer/moment2/dense/bias"',
      'the model has no "optimizer/moment2/temperature"',
    ]);
  });

  it('an optimizer with other moments', async () => {
    await expect(read(createMemory(model, sgd({ momentum: 0.9 })), sgd({ momentum: 0.9 }))).rejects.toThrow(
      failure('ERR_RESUME_MISMATCH', 'adam with moment1, moment2', 'sgd with moment1'),
    );
  });

  it.each([
    { tensor: 'norm/mean', fromEnd: 4 * 41 * 2 + 1 },
    { tensor: 'optimizer/moment2/temperature', fromEnd: 1 },
  ])('a tensor in which one bit is flipped, by name: $tensor', async ({ tensor, fromEnd }) => {
    const bytes = await readFile(path());
    const at = bytes.length - fromEnd;
    bytes[at] = (bytes[at] ?? 0) ^ 0x10;
    await writeFile(path(), bytes);
    await expect(read()).rejects.toThrow(
      failure('ERR_CHECKPOINT_INVALID', `the checksum of its tensor "${tensor}" is`),
    );
  });

  it('one in which a bit is flipped, wherever it is', async () => {
    const whole = await readFile(path());
    const accepted: number[] = [];
    for (let at = 0; at < whole.length; at += 3) {
      const flipped = Uint8Array.from(whole);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      await writeFile(path(), flipped);
      await verifyCheckpoint(path()).then(
        () => accepted.push(at),
        (error: unknown) => {
          expect(error).toEqual(failure('ERR_CHECKPOINT_INVALID', path()));
        },
      );
    }
    expect(accepted).toEqual([]);
  });

  it('one that is cut off anywhere, or goes on behind its end', async () => {
    const whole = await readFile(path());
    for (let length = 0; length < whole.length; length += 97) {
      await writeFile(path(), whole.subarray(0, length));
      await expect(verifyCheckpoint(path())).rejects.toThrow(failure('ERR_CHECKPOINT_INVALID', path()));
    }
    await writeFile(path(), Buffer.concat([whole, Buffer.alloc(4)]));
    await expect(verifyCheckpoint(path())).rejects.toThrow(failure('ERR_CHECKPOINT_INVALID', path()));
  });

  it('one whose header has been changed and is valid still', async () => {
    const text = await readFile(path(), 'latin1');
    await writeFile(path(), text.replace('"step":"50"', '"step":"51"'), 'latin1');
    await expect(verifyCheckpoint(path())).rejects.toThrow(failure('ERR_CHECKPOINT_INVALID', 'SHA-256 of its header'));
  });

  it('a file that is cut off, empty, absent or of another program', async () => {
    await truncate(path(), 1000);
    await expect(read()).rejects.toThrow(failure('ERR_CHECKPOINT_INVALID', 'not a whole safetensors file'));
    await truncate(path(), 0);
    await expect(read()).rejects.toThrow(failure('ERR_CHECKPOINT_INVALID', 'it has 0 bytes'));
    await rm(path());
    await expect(read()).rejects.toThrow(failure('ERR_CHECKPOINT_INVALID', 'cannot be read: ENOENT'));
    await copyFile(new URL('../golden/mlp/initial.safetensors', import.meta.url), path());
    await expect(read()).rejects.toThrow(failure('ERR_CHECKPOINT_INVALID', 'says no format'));
  });

  it('facts that are not as they are written', async () => {
    const text = await readFile(path(), 'latin1');
    await writeFile(path(), text.replace('"step":"50"', '"step":"-5"'), 'latin1');
    await expect(read()).rejects.toThrow(failure('ERR_CHECKPOINT_INVALID', 'not a valid checkpoint', 'step'));
    await writeFile(path(), text.replace('"step":"50"', '"step":"{a"'), 'latin1');
    await expect(read()).rejects.toThrow(failure('ERR_CHECKPOINT_INVALID', 'its "step" is not JSON'));
    await writeFile(path(), text.replace('checkpoint-2', 'checkpoint-9'), 'latin1');
    await expect(read()).rejects.toThrow(failure('ERR_CHECKPOINT_INVALID', 'lockstep-checkpoint-9'));
  });
});

describe('a write that fails', () => {
  const failWrites = async (code: string, afterBytes: number) => {
    const handle = await open(folder, 'r');
    const prototype = Object.getPrototypeOf(handle) as { write: typeof handle.write }; // of every FileHandle
    await handle.close();
    const real = prototype.write;
    let written = 0;
    vi.spyOn(prototype, 'write').mockImplementation(async function (this: typeof handle, ...args: unknown[]) {
      if (written >= afterBytes) throw Object.assign(new Error(`${code}: no more, write`), { code });
      const result = (await Reflect.apply(real, this, args)) as { bytesWritten: number; buffer: string }; // as it gives
      written += result.bytesWritten;
      return result;
    });
  };

  it.each([
    { errno: 'ENOSPC', code: 'ERR_DISK_FULL', says: 'The disk is full (ENOSPC)' },
    { errno: 'EDQUOT', code: 'ERR_DISK_FULL', says: 'The disk is full (EDQUOT)' },
    { errno: 'EIO', code: 'ERR_CHECKPOINT_WRITE', says: 'cannot be written: EIO' },
  ])('for $errno is told as $code, and leaves the older checkpoint alone', async ({ errno, code, says }) => {
    const older = fill(createMemory());
    await write(older, 10);
    await failWrites(errno, 200);
    await expect(write(fill(createMemory(), adam(), 5), 50)).rejects.toThrow(failure(code, says, 'older checkpoints'));
    expect(await readdir(folder)).toEqual(['step-00000010.safetensors']);
    expect((await latestCheckpoint(folder, log))?.checkpoint.weightsSha256).toBe(sha256(older));
  });

  it('on a disk that is really full is told as ERR_DISK_FULL', async (context) => {
    const mount = await execa('/bin/mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder], { reject: false });
    if (mount.failed) context.skip('mounting a small disk takes root');
    try {
      await write(fill(createMemory()), 10);
      const large: ParameterSpec[] = [{ name: 'embedding', shape: [100, 200], trainable: true }];
      await expect(write(fill(createMemory(large)), 50)).rejects.toThrow(failure('ERR_DISK_FULL', 'step 50'));
      expect(await readdir(folder)).toEqual(['step-00000010.safetensors']);
    } finally {
      await execa('/bin/umount', [folder]);
    }
  });

  it('because the folder is a file is told as ERR_CHECKPOINT_WRITE', async () => {
    await writeFile(join(folder, 'file'), '');
    const path = join(folder, 'file', 'step-00000001.safetensors');
    await expect(writeCheckpoint({ path, memory: createMemory(), facts, log })).rejects.toThrow(
      failure('ERR_CHECKPOINT_WRITE', path),
    );
  });
});

describe('the folder of checkpoints', () => {
  it('gives the newest checkpoint that is whole, and a line for each damaged one', async () => {
    for (const step of [9, 10, 11, 12]) await write(fill(createMemory(), adam(), step), step);
    const bytes = await readFile(checkpointPath(folder, 11));
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
    await writeFile(checkpointPath(folder, 11), bytes);
    await truncate(checkpointPath(folder, 12), 500);
    await writeFile(join(folder, '.tmp-step-00000013.safetensors-abc'), '');
    await writeFile(join(folder, 'step-99999999.safetensors.txt'), '');
    const found = await latestCheckpoint(folder, log);
    expect(found).toMatchObject({ path: checkpointPath(folder, 10), checkpoint: { step: 10 } });
    expect(warnings).toEqual([
      expect.stringMatching(
        /step-00000010.* is used instead: .*step-00000012.* is not a whole safetensors file: it is cut off: it has 500/,
      ),
      expect.stringMatching(
        /step-00000010.* is used instead: .*step-00000011.* is damaged: the checksum of its tensor "optimizer\/moment2\/temperature"/,
      ),
    ]);
  });

  it('gives none where all are damaged, and says so', async () => {
    await write(fill(createMemory()), 7);
    await truncate(checkpointPath(folder, 7), 900);
    expect(await latestCheckpoint(folder, log)).toBeUndefined();
    expect(warnings).toEqual([expect.stringMatching(/there is no older one that is whole: .*step-00000007/)]);
  });

  it('gives none where there is none', async () => {
    expect(await latestCheckpoint(folder, log)).toBeUndefined();
    expect(await latestCheckpoint(join(folder, 'absent'), log)).toBeUndefined();
    expect(warnings).toEqual([]);
  });

  it('sorts steps as numbers, past eight digits too', async () => {
    for (const step of [99_999_999, 100_000_000]) await write(fill(createMemory()), step);
    expect((await latestCheckpoint(folder, log))?.checkpoint.step).toBe(100_000_000);
  });

  it('is pruned to the newest few, without what killed writers left, and nothing else', async () => {
    for (const step of [1, 2, 10, 30]) await write(fill(createMemory()), step);
    for (const name of ['.tmp-step-00000030.safetensors-a', '.tmp-step-00000031.safetensors-b', 'notes.txt']) {
      await writeFile(join(folder, name), '');
    }
    await pruneCheckpoints(folder, { keep: 2, step: 30 });
    expect((await readdir(folder)).sort()).toEqual([
      '.tmp-step-00000031.safetensors-b',
      'notes.txt',
      'step-00000010.safetensors',
      'step-00000030.safetensors',
    ]);
  });
});

describe('of two that write at once', () => {
  /** Writes the checkpoint of step 50; `before` is done when all of it lies aside. Whether it is there then. */
  const writeSlowly = async (before: () => Promise<void>) => {
    const files: CheckpointFiles = {
      ...localFiles,
      create: async (path, itsLog) => {
        const target = await localFiles.create(path, itsLog);
        const keep = async (): Promise<boolean> => {
          await before();
          return target.keep();
        };
        return { ...target, keep };
      },
    };
    const what = { folder, keep: 3, memory: fill(createMemory()), facts, sharding: null, files, log };
    return writeAndPrune(what);
  };

  it('the slower one makes way for a later step, and nothing of it is left', async () => {
    const written = await writeSlowly(async () => {
      await write(fill(createMemory()), 60);
      await pruneCheckpoints(folder, { keep: 3, step: 60 });
    });
    expect(written).toBe(false);
    expect(await readdir(folder)).toEqual(['step-00000060.safetensors']);
  });

  it('the slower one counts as written where the other has the same step', async () => {
    const memory = fill(createMemory());
    const written = await writeSlowly(async () => {
      await write(memory, 50);
      await pruneCheckpoints(folder, { keep: 3, step: 50 });
    });
    expect(written).toBe(true);
    expect(await readdir(folder)).toEqual(['step-00000050.safetensors']);
  });

  it('the slower one fails where only an older one is there', async () => {
    await write(fill(createMemory()), 40);
    const writing = writeSlowly(async () => {
      for (const name of await readdir(folder)) if (name.startsWith('.tmp-')) await rm(join(folder, name));
    });
    await expect(writing).rejects.toThrow(failure('ERR_CHECKPOINT_WRITE', 'ENOENT'));
  });

  it.each([
    ['is gone', null],
    ['has holes, as pieces were written before it was removed and after', 'step-00000050'],
  ])(
    'what came piece by piece and %s is not kept, and is no error, where a later one is there',
    async (_how, start) => {
      const path = checkpointPath(folder, 50);
      const aside = join(folder, '.tmp-step-00000050.safetensors-a');
      if (start !== null) await writeFile(aside, start);
      await expect(keepCheckpoint(aside, path, { keep: 3, log })).rejects.toThrow(failure('ERR_CHECKPOINT_INVALID'));
      await write(fill(createMemory()), 60);
      await keepCheckpoint(aside, path, { keep: 3, log });
      expect(await readdir(folder)).toEqual(['step-00000060.safetensors']);
    },
  );
});

describe('a run that goes on behind a damaged checkpoint', () => {
  it('keeps as many that are whole as if the damaged ones were not there', async () => {
    for (const step of [10, 20, 30, 40, 50, 60]) await write(fill(createMemory()), step);
    await truncate(checkpointPath(folder, 30), 1000);
    const bytes = await readFile(checkpointPath(folder, 40));
    await writeFile(
      checkpointPath(folder, 40),
      bytes.toString('latin1').replace('"step":"40"', '"step":"41"'),
      'latin1',
    );
    await rm(checkpointPath(folder, 60));
    await pruneCheckpoints(folder, { keep: 2, step: 50 });
    expect((await readdir(folder)).sort()).toEqual([20, 30, 40, 50].map((step) => `step-000000${step}.safetensors`));
  });

  it('keeps what it writes, and what lies ahead', async () => {
    for (const step of [10, 20, 30]) await write(fill(createMemory()), step);
    await pruneCheckpoints(folder, { keep: 1, step: 20 });
    expect((await readdir(folder)).sort()).toEqual(['step-00000020.safetensors', 'step-00000030.safetensors']);
  });
});

describe("a checkpoint in Python's safetensors", () => {
  it('has the same tensors and metadata', async (context) => {
    const memory = fill(createMemory());
    await write(memory);
    const python = process.env.LOCKSTEP_TEST_PYTHON ?? 'python3';
    const program = `
import json, sys
try:
    from safetensors import safe_open
    import numpy
except ImportError:
    sys.exit(77)
with safe_open(sys.argv[1], framework='np') as f:
    print(json.dumps([f.metadata(), {k: f.get_tensor(k).astype(float).ravel().tolist() for k in f.keys()}]))
`;
    const run = await execa(python, ['-c', program, checkpointPath(folder, 50)], { reject: false });
    if (run.exitCode !== 0 && (run.exitCode === 77 || run.code === 'ENOENT')) {
      context.skip("Python's safetensors is not installed here (LOCKSTEP_TEST_PYTHON names a Python that has it)");
    }
    expect(run.stderr).toBe('');
    const [metadata, tensors] = JSON.parse(run.stdout) as [Record<string, string>, Record<string, number[]>]; // as printed
    expect(metadata).toMatchObject({ step: '50', runId: facts.runId, weightsSha256: sha256(memory) });
    const bias = memory.layout.parameters.find(({ name }) => name === 'dense/bias');
    if (!bias) throw new Error('the layout lacks dense/bias');
    expect(tensors['dense/bias']).toEqual(Array.from(memory.parameterView('parameters', bias)));
    expect(tensors['optimizer/moment2/dense/bias']).toEqual(Array.from(memory.parameterView('moment2', bias)));
    expect(Object.keys(tensors)).toHaveLength(10);
  });
});
