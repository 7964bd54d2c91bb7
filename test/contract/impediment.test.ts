/** What fault injection does to connections, on a real socket. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { defaultLimits } from '../../src/protocol/limits.js';
import type { Connection } from '../../transport/connection.js';
import { dial } from '../../transport/dialler.js';
import { Impediment } from '../../transport/impediment.js';
import { Listener } from '../../transport/listener.js';

const anyMessage = z.record(z.string(), z.unknown());
const timeoutMs = 5_000;
const delayMs = 60;

describe('an impediment', () => {
  let folder: string;
  let listener: Listener;
  let near: Connection;
  let far: Connection;
  let impediment: Impediment;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lockstep-test-'));
    const endpoint = { kind: 'unix', path: join(folder, 's') } as const;
    const shared = {
      endpoint,
      token: 'a token of this test',
      limits: defaultLimits,
      maxMessageBytes: 1024,
      bulk: true,
    };
    let accept: (connection: Connection) => void = () => undefined;
    const accepted = new Promise<Connection>((resolve) => (accept = resolve));
    const ignore = (): void => undefined;
    const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
    listener = await Listener.listen({ ...shared, log, onConnection: accept });
    impediment = new Impediment();
    near = await dial({ ...shared, impediment });
    far = await accepted;
  });

  afterEach(async () => {
    near.terminate();
    await listener.close();
    await rm(folder, { recursive: true });
  });

  const next = (connection: Connection): Promise<unknown> =>
    connection.receive(anyMessage, { what: 'word', timeoutMs });

  it('delays what is sent, and keeps its order when the delay gets shorter', async () => {
    const begunMs = performance.now();
    impediment.delay(delayMs);
    near.send({ n: 1 });
    impediment.delay(1);
    near.send({ n: 2 });
    expect(await next(far)).toEqual({ n: 1 });
    expect(performance.now() - begunMs).toBeGreaterThanOrEqual(delayMs - 1);
    expect(await next(far)).toEqual({ n: 2 });
  });

  it('delays the end of a connection too, behind its last words', async () => {
    impediment.delay(delayMs);
    near.send({ n: 1 });
    near.close();
    expect(await next(far)).toEqual({ n: 1 });
    expect((await far.closed).code).toBe(1000);
  });

  it('that is a cut lets nothing through, either way, and closes nothing', async () => {
    impediment.cut();
    near.send({ n: 1 });
    far.send({ n: 2 });
    const heard = Promise.race([next(near), next(far)]).catch(() => 'the end');
    // A second way between the two, which is not cut, tells when the first would have been heard.
    const witness = await dial({
      endpoint: listener.endpoint,
      token: 'a token of this test',
      limits: defaultLimits,
      maxMessageBytes: 1024,
    });
    expect([near.isOpen, far.isOpen]).toEqual([true, true]);
    witness.terminate();
    near.terminate();
    expect(await heard).toBe('the end');
  });

  it('delays bulk with a header of its own, as the caller uses one again', async () => {
    const headers: number[] = [];
    const done = new Promise<void>((resolve) => {
      const end = (): void => (headers.length === 2 ? resolve() : undefined);
      const handler = {
        headerBytes: 1,
        begin: (header: Uint8Array) => {
          headers.push(header[0] ?? NaN);
          return null;
        },
        progress: () => undefined,
        end,
      };
      void far.openBulk(handler, { timeoutMs });
    });
    await near.openBulk(
      { headerBytes: 1, begin: () => null, progress: () => undefined, end: () => undefined },
      { timeoutMs },
    );
    impediment.delay(delayMs);
    const header = Uint8Array.of(1);
    const sent = new Promise<void>((resolve) => {
      near.sendBulk(header, new Uint8Array(4), resolve);
    });
    header[0] = 2;
    near.sendBulk(header, new Uint8Array(4), () => undefined);
    await Promise.all([sent, done]);
    expect(headers).toEqual([1, 2]);
  });
});
