/** What a worker tells a coordinator that may die before it has it. */
import { describe, expect, it } from 'vitest';
import { maxKeptMessages, Outbox } from '../../src/membership/outbox.js';
import type { FromWorker } from '../../src/protocol/messages.js';

const progress = (step: number): FromWorker => {
  return { type: 'progress', records: [{ step, loss: 1, metrics: [] }], stepTime: null };
};
const evaluated = (step: number): FromWorker => ({ type: 'evaluated', step, slots: [] });
const finished: FromWorker = { type: 'finished', step: 9, weightsSha256: 'x' };

function outboxOf(...messages: FromWorker[]): Outbox {
  const outbox = new Outbox();
  for (const message of messages) outbox.add(message, true);
  return outbox;
}

describe('the outbox', () => {
  it('tells again what the coordinator has not confirmed, in order', () => {
    const outbox = outboxOf(progress(1), progress(2), progress(3));
    outbox.heard(1);
    expect(outbox.reconnect()).toEqual([progress(2), progress(3)]);
  });

  it('counts anew on each connection, and what was added while there was none', () => {
    const outbox = outboxOf(progress(1), progress(2));
    outbox.heard(2);
    outbox.add(progress(3), false);
    expect(outbox.reconnect()).toEqual([progress(3)]);
    outbox.add(progress(4), true);
    outbox.heard(1);
    expect(outbox.reconnect()).toEqual([progress(4)]);
  });

  it('says when a message is heard, on whichever connection', () => {
    const outbox = new Outbox();
    const heard: string[] = [];
    const injected: FromWorker = { type: 'injected', fault: { kind: 'kill', rank: 0, step: 1 }, step: 1 };
    outbox.add(injected, true, () => heard.push('injected'));
    expect(outbox.reconnect()).toEqual([injected]);
    expect(heard).toEqual([]);
    outbox.heard(1);
    expect(heard).toEqual(['injected']);
    expect(outbox.reconnect()).toEqual([]);
  });

  it('keeps no signs of life', () => {
    const outbox = outboxOf({ type: 'heartbeat', step: 1, waiting: null, stage: null, pace: null });
    expect(outbox.reconnect()).toEqual([]);
  });

  it('keeps the last two validations, whose other parts another worker may not have told', () => {
    const outbox = outboxOf(evaluated(1), evaluated(2), evaluated(3));
    outbox.heard(3);
    expect(outbox.reconnect()).toEqual([evaluated(2), evaluated(3)]);
  });

  it('keeps that it has finished until it halts', () => {
    const outbox = outboxOf(finished);
    outbox.heard(1);
    expect(outbox.reconnect()).toEqual([finished]);
    outbox.add({ type: 'halted', generation: 2, step: 9 }, true);
    expect(outbox.reconnect()).toEqual([]);
  });

  it('asks again for rows that have not come', () => {
    const ask = (request: number): FromWorker => ({ type: 'read-rows', request, split: 'train', indices: [0] });
    const outbox = outboxOf(ask(1), ask(2));
    const column = { dtype: 'uint8' as const, shape: [1], bytes: new Uint8Array(1) };
    outbox.answered({ type: 'rows', request: 1, x: column, y: column });
    expect(outbox.reconnect()).toEqual([ask(2)]);
  });

  it('asks again about a file, whose questions have numbers of their own', () => {
    const rows: FromWorker = { type: 'read-rows', request: 1, split: 'train', indices: [0] };
    const keep = (request: number): FromWorker => ({ type: 'keep-file', request, name: 'step-00000001.safetensors' });
    const outbox = outboxOf(rows, keep(1), keep(2));
    outbox.answered({ type: 'file', request: 1, size: 0, bytes: new Uint8Array(0), failure: null });
    expect(outbox.reconnect()).toEqual([rows, keep(2)]);
  });

  it('gives up the oldest where too many wait', () => {
    const outbox = new Outbox();
    for (let step = 1; step <= maxKeptMessages + 2; step++) outbox.add(progress(step), false);
    expect(outbox.numGivenUp).toBe(2);
    expect(outbox.reconnect()[0]).toEqual(progress(3));
  });
});
