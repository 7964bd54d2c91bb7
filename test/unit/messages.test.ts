import { describe, expect, it } from 'vitest';
import { decodeMessage, encodeMessage } from '../../src/protocol/codec.js';
import { fromWorkerSchema, toFailure, type FromWorker } from '../../src/protocol/messages.js';

const carried = (message: FromWorker): FromWorker => decodeMessage(fromWorkerSchema, encodeMessage(message));

describe('a control message', () => {
  it.each([NaN, Infinity, -Infinity])('carries a metric of %d', (value) => {
    const record = { step: 1, loss: value, metrics: [value] };
    const progress = { type: 'progress', records: [record], stepTime: { compute: 1 } } as const;
    expect(carried({ ...progress, records: [record] })).toEqual(progress);
    const slots = [{ slot: 0, rows: 1, loss: value, metrics: [value] }];
    expect(carried({ type: 'evaluated', step: 1, slots })).toEqual({ type: 'evaluated', step: 1, slots });
  });

  it('carries a failure whose message has no end', () => {
    const failure = toFailure({ code: 'ERR_STEP_FAILED', message: 'x'.repeat(1_000_000) }, 3);
    const { message } = failure;
    expect(carried({ type: 'failed', failure })).toEqual({ type: 'failed', failure: { ...failure, message } });
    expect(message).toHaveLength(65_536);
  });
});
