import { mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BestCheckpoint } from '../../coordinator/best-checkpoint.js';
import { bestSchema } from '../../src/job/best.js';
import type { Log } from '../../src/log.js';

let runDir: string;
let warnings: string[];
beforeEach(async () => {
  runDir = await mkdtemp(join(tmpdir(), 'lockstep-best-'));
  warnings = [];
  await mkdir(join(runDir, 'checkpoints'));
});
afterEach(() => rm(runDir, { recursive: true, force: true }));

const nothing = (): void => undefined;
const log = (): Log => ({ debug: nothing, info: nothing, error: nothing, warn: (text) => warnings.push(text) });
const config = bestSchema.parse({ metric: 'val_loss' });
const fileOf = (name: string): string => join(runDir, 'checkpoints', name);
const best = (): Promise<string> => readFile(fileOf('best.safetensors'), 'utf8');

async function write(keeper: BestCheckpoint, step: number): Promise<void> {
  await writeFile(fileOf(`step-${step}`), `state ${step}`);
  keeper.onCheckpoint(step, fileOf(`step-${step}`));
}

const validate = (keeper: BestCheckpoint, step: number, loss: number): void => {
  keeper.onValidation({ step, epoch: step, metrics: { val_loss: loss } });
};

describe('the best checkpoint', () => {
  it.each([
    { how: 'linked', link: undefined },
    { how: 'copied, where a file has one name', link: () => Promise.reject(new Error('EPERM')) },
  ])('is $how, whichever comes first, checkpoint or validation, and stays when its own is gone', async ({ link }) => {
    const keeper = new BestCheckpoint({ runDir, config, log: log(), ...(link && { link }) });
    await write(keeper, 1);
    validate(keeper, 1, 3);
    validate(keeper, 2, 2);
    await write(keeper, 2);
    await write(keeper, 3);
    validate(keeper, 3, 4);
    await keeper.settled();
    await rm(fileOf('step-2'));
    expect(await best()).toBe('state 2');
    expect(JSON.parse(await readFile(fileOf('best.json'), 'utf8'))).toEqual({ metric: 'val_loss', step: 2, value: 2 });
    expect(warnings).toEqual([]);
  });

  it('of a run that goes on is the one of before, until a better one comes', async () => {
    const before = new BestCheckpoint({ runDir, config, log: log() });
    await write(before, 1);
    validate(before, 1, 2);
    await before.settled();
    const after = new BestCheckpoint({ runDir, config, log: log() });
    await write(after, 2);
    validate(after, 2, 2.5);
    await after.settled();
    expect(await best()).toBe('state 1');
    await write(after, 3);
    validate(after, 3, 1.5);
    await after.settled();
    expect(await best()).toBe('state 3');
  });

  it('that cannot be kept is warned of', async () => {
    const keeper = new BestCheckpoint({ runDir, config, log: log() });
    keeper.onCheckpoint(1, fileOf('gone'));
    validate(keeper, 1, 2);
    await keeper.settled();
    expect(warnings).toEqual([expect.stringContaining('the best checkpoint is not kept')]);
  });
});
