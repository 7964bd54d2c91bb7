import { describe, expect, it } from 'vitest';
import { parseJob } from '../../src/job/job.js';
import { adam } from '../../src/optimizer/config.js';

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
    expect(parseJob(definition)).toMatchObject({ checkpointsKept: 3 });
  });

  it.each([{ onNotFinite: 'skip' }, { stragglers: { evictAfterSeconds: 1 } }, { checkpointsKept: 1 }])(
    'cannot have %o, which is right without',
    (field) => {
      const [name = ''] = Object.keys(field);
      expect(() => parseJob({ ...definition, ...field })).toThrow(new RegExp(`The job is not valid: ${name}.*sharded`));
      expect(parseJob({ ...definition, ...field, optimizer: adam() })).toMatchObject(field);
    },
  );
});
