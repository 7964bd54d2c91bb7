import { describe, expect, it } from 'vitest';
import { parseJob } from '../../src/job/job.js';
import { plainJob } from '../../src/job/plain-job.js';
import { adam } from '../../src/optimizer/config.js';
import { constantRate, cosineRate, linearRate } from '../../src/optimizer/learning-rate.js';

const definition = {
  name: 'job',
  model: () => {
    throw new Error('a job is checked without its model');
  },
  loss: 'meanSquaredError',
  data: { train: { length: 1, read: () => ({}) } },
  optimizer: adam({ sharded: true }),
  batchSize: 1,
};

describe('a job with a sharded optimizer', () => {
  it('is right as it is', () => {
    expect(parseJob({ ...definition, onNotFinite: 'skip' })).toMatchObject({ checkpointsKept: 3, onNotFinite: 'skip' });
  });

  it.each([{ stragglers: { evictAfterSeconds: 1 } }, { checkpointsKept: 1 }])(
    'cannot have %o, which is right without',
    (field) => {
      const [name = ''] = Object.keys(field);
      expect(() => parseJob({ ...definition, ...field })).toThrow(new RegExp(`The job is not valid: ${name}.*sharded`));
      expect(parseJob({ ...definition, ...field, optimizer: adam() })).toMatchObject(field);
    },
  );
});

describe('a job with a wrong field is told what was expected', () => {
  it.each([
    [{ loss: undefined }, 'loss: expected a name, or a function (yTrue, yPred) => Tensor'],
    [{ metrics: ['accuracy', 5] }, 'metrics.1: expected a name, or a function (yTrue, yPred) => Tensor'],
    [
      { optimizer: { name: 'sgd', learningRate: 'fast' } },
      'optimizer.learningRate: expected a positive number, or a schedule',
    ],
  ])('%o', (field, expected) => {
    expect(() => parseJob({ ...definition, ...field })).toThrow(expected);
  });
});

describe('the precision', () => {
  it.each(['bfloat16', 'float16'])('%s is refused, as the engine cannot compute in it', (precision) => {
    expect(() => parseJob({ ...definition, precision })).toThrow(`so the engine cannot compute in ${precision}; use`);
  });

  it('that a job can have is no field of its plain data, where it would say nothing', () => {
    const job = parseJob({ ...definition, precision: 'float32' });
    expect(Object.keys(plainJob(job))).not.toContain('precision');
  });
});

describe('a learning rate', () => {
  const withRate = (learningRate: ReturnType<typeof constantRate | typeof cosineRate | typeof linearRate>) => () =>
    parseJob({ ...definition, optimizer: adam({ learningRate }) });

  it.each([cosineRate, linearRate])('that has no step left to fall in is refused', (schedule) => {
    expect(withRate(schedule(0.1, { steps: 100, warmUpSteps: 100 }))).toThrow(
      /The job is not valid: optimizer.learningRate: steps \(100\).* more than warmUpSteps \(100\).* 0 instead of 0.1/,
    );
    expect(withRate(schedule(0.1, { steps: 50, warmUpSteps: 100 }))).toThrow('steps (50)');
    expect(withRate(schedule(0.1, { steps: 101, warmUpSteps: 100 }))).not.toThrow();
  });

  it('that does not fall has any warm-up', () => {
    expect(withRate(constantRate(0.1, { warmUpSteps: 100 }))).not.toThrow();
  });
});

describe('the best validation', () => {
  const recall = () => 0;
  const accuracy = () => 0;
  const withBest = (best: Readonly<Record<string, string>>, metrics: readonly unknown[]) => () =>
    parseJob({ ...definition, data: { ...definition.data, validation: definition.data.train }, metrics, best });

  it.each([
    { metric: 'val_loss', metrics: [recall] },
    { metric: 'val_accuracy', metrics: ['accuracy', recall] },
    { metric: 'val_recall', mode: 'max', metrics: [recall] },
    { metric: 'val_accuracy', mode: 'max', metrics: [accuracy] },
  ])('may be of what is known to be better: %o', ({ metrics, ...best }) => {
    expect(withBest(best, metrics)().best).toMatchObject(best);
  });

  it.each([
    { metric: 'val_recall', metrics: [recall], known: 'val_loss' },
    { metric: 'val_accuracy', metrics: [accuracy, 'mse'], known: 'val_loss, val_mse' },
    { metric: 'val_acuracy', metrics: ['accuracy'], known: 'val_loss, val_accuracy' },
  ])('is not guessed of $metric', ({ metric, metrics, known }) => {
    const said = `best.mode: whether a larger or a smaller "${metric}" is better is known only of ${known}; give mode`;
    expect(withBest({ metric }, metrics)).toThrow(said);
  });

  it('is of validation data', () => {
    const best = { metric: 'val_loss' };
    expect(() => parseJob({ ...definition, best })).toThrow('The job is not valid: best: nothing is validated; give');
  });

  it('stays beside one that comes after it', () => {
    const data = { ...definition.data, validation: definition.data.train };
    const job = { ...definition, data, best: { metric: 'val_loss' } };
    expect(() => parseJob({ ...job, checkpointsKept: 1 })).toThrow('checkpointsKept: the best may be the last but one');
    expect(parseJob({ ...job, checkpointsKept: 2 })).toMatchObject({ checkpointsKept: 2 });
  });
});
