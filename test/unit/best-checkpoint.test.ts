import { mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BestCheckpoint, type BestCheckpointOptions } from '../../coordinator/best-checkpoint.js';
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
const note = async (): Promise<unknown> => JSON.parse(await readFile(fileOf('best.json'), 'utf8'));

type More = Partial<Pick<BestCheckpointOptions, 'goesOn' | 'link'>>;

const keep = (more: More = {}): BestCheckpoint =>
  new BestCheckpoint({
    runDir,
    config,
    goesOn: false,
    pathOf: (step) => fileOf(`step-${step}`),
    isWhole: async (path) => (await readFile(path, 'utf8')).startsWith('state'),
    log: log(),
    ...more,
  });

const write = (step: number): Promise<void> => writeFile(fileOf(`step-${step}`), `state ${step}`);

async function tell(keeper: BestCheckpoint, step: number): Promise<void> {
  await write(step);
  keeper.onCheckpoint(step);
}

const validate = (keeper: BestCheckpoint, step: number, loss: number): void => {
  keeper.onValidation({ step, epoch: step, metrics: { val_loss: loss } });
};

describe('the best checkpoint', () => {
  it.each([
    { how: 'linked', link: undefined },
    { how: 'copied, where a file has one name', link: () => Promise.reject(new Error('EPERM')) },
  ])('is $how, whichever comes first, checkpoint or validation, and stays when its own is gone', async ({ link }) => {
    const keeper = keep(link && { link });
    await tell(keeper, 1);
    validate(keeper, 1, 3);
    validate(keeper, 2, 2);
    await tell(keeper, 2);
    await tell(keeper, 3);
    validate(keeper, 3, 4);
    await keeper.settled();
    await rm(fileOf('step-2'));
    expect(await best()).toBe('state 2');
    expect(await note()).toEqual({ metric: 'val_loss', step: 2, value: 2 });
    expect(warnings).toEqual([]);
  });

  it('of a run that goes on is the one of before, until a better one comes', async () => {
    const before = keep();
    await tell(before, 1);
    validate(before, 1, 2);
    await before.settled();
    const after = keep({ goesOn: true });
    await tell(after, 2);
    validate(after, 2, 2.5);
    await after.settled();
    expect(await best()).toBe('state 1');
    await tell(after, 3);
    validate(after, 3, 1.5);
    await after.settled();
    expect(await best()).toBe('state 3');
  });

  it('of a run that begins is not compared with what another one has left', async () => {
    const before = keep();
    validate(before, 1, 2);
    await before.settled();
    const after = keep();
    await tell(after, 1);
    validate(after, 1, 3);
    await after.settled();
    expect(await note()).toEqual({ metric: 'val_loss', step: 1, value: 3 });
  });

  it.each([
    { value: 2, when: 'while there is no coordinator', isThere: true },
    { value: 2, when: 'after another one is there', isThere: false },
    { value: -Infinity, when: 'while there is no coordinator, and is of a value that is not finite', isThere: true },
  ])('is kept by the next coordinator where it is written $when', async ({ value, isThere }) => {
    const before = keep();
    validate(before, 1, value);
    await before.settled();
    expect(await note()).toMatchObject({ metric: 'val_loss', awaited: { step: 1 } });
    if (isThere) await write(1);
    const after = keep({ goesOn: true });
    validate(after, 2, 2.5);
    if (!isThere) await tell(after, 1);
    await tell(after, 2);
    await after.settled();
    expect(await best()).toBe('state 1');
    expect(await note()).toMatchObject({ step: 1 });
    expect(warnings).toEqual([]);
  });

  it('is that of a validation that the coordinator before has told, and not written down', async () => {
    await write(1);
    const after = keep({ goesOn: true });
    validate(after, 1, 2);
    validate(after, 1, 2);
    validate(after, 2, 2.5);
    await tell(after, 2);
    await after.settled();
    expect(await best()).toBe('state 1');
  });

  it.each([
    { when: 'when its checkpoint is said to be written', order: ['validation', 'checkpoint'] },
    { when: 'when its validation is known', order: ['checkpoint', 'validation'] },
  ])('that is not there is warned of once, $when', async ({ order }) => {
    const keeper = keep();
    for (const what of order) {
      if (what === 'validation') validate(keeper, 1, 2);
      else keeper.onCheckpoint(1);
    }
    keeper.onCheckpoint(2);
    await keeper.settled();
    expect(warnings).toEqual([`the best checkpoint is not kept: ${fileOf('step-1')} is not there, or not whole`]);
  });

  it('whose checkpoint does not come leaves the one that is kept, with which later ones are compared', async () => {
    const keeper = keep();
    await tell(keeper, 1);
    validate(keeper, 1, 3);
    validate(keeper, 2, 1);
    await tell(keeper, 3);
    await keeper.settled();
    expect(await note()).toEqual({ metric: 'val_loss', step: 1, value: 3 });
    validate(keeper, 3, 2);
    await keeper.settled();
    expect(await best()).toBe('state 3');
    expect(await note()).toEqual({ metric: 'val_loss', step: 3, value: 2 });
  });

  it('is no damaged one that a run which goes on has found', async () => {
    await writeFile(fileOf('step-2'), 'torn');
    const keeper = keep({ goesOn: true });
    await tell(keeper, 1);
    validate(keeper, 1, 3);
    validate(keeper, 2, 2);
    await keeper.settled();
    expect(await best()).toBe('state 1');
    await rm(fileOf('step-2'));
    await tell(keeper, 2);
    await keeper.settled();
    expect(await best()).toBe('state 2');
    expect(warnings).toEqual([]);
  });

  it.each([
    {
      ...{ what: 'as it was before a better one could be awaited', text: '{"metric":"val_loss","step":1,"value":2}' },
      ...{ known: { step: 1, value: 2 }, said: [] },
    },
    {
      ...{ what: 'torn, which is said', text: '{"metric":' },
      ...{ known: { step: 2, value: 2.5 }, said: [/best\.json cannot be read; the next best one counts$/] },
    },
  ])('is known from what is written down; $what', async ({ text, known, said }) => {
    await writeFile(fileOf('best.json'), text);
    const keeper = keep({ goesOn: true });
    await tell(keeper, 2);
    validate(keeper, 2, 2.5);
    await keeper.settled();
    expect(await note()).toEqual({ metric: 'val_loss', ...known });
    expect(warnings).toEqual(said.map((pattern) => expect.stringMatching(pattern) as unknown));
  });
});
