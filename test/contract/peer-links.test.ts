import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { defaultLimits } from '../../src/protocol/limits.js';
import type { Connection } from '../../transport/connection.js';
import { Listener } from '../../transport/listener.js';
import { PeerLinks } from '../../worker/comm/peer-links.js';

const ignore = (): void => undefined;

/** Rank 0 of two, and the socket on which it looks for rank 1. */
async function beginLinks(onConnection: (peer: Connection) => void) {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-test-'));
  const unixPath = join(folder, 'p.sock');
  const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
  const shared = { token: 'a token of this test', limits: defaultLimits, maxMessageBytes: 1024 };
  const listener = await Listener.listen({ ...shared, endpoint: { kind: 'unix', path: unixPath }, log, onConnection });
  const worker = (rank: number) => ({
    workerId: `w${rank}`,
    rank,
    host: 'h',
    firstSlot: rank,
    endSlot: rank + 1,
    addresses: { hostId: 'h', unixPath, tcp: [] },
    step: 0,
  });
  const ending = new AbortController();
  const links = new PeerLinks({
    ...shared,
    runId: 'r',
    generation: { generation: 1, step: 0, resumeFrom: null, workers: [worker(0), worker(1)] },
    rank: 0,
    hostId: 'h',
    signal: ending.signal,
    memory: null,
    mount: () => false,
    frames: () => ({ headerBytes: 1, begin: () => null, progress: ignore, end: ignore }),
  });
  const connecting = links.connect().catch((error: unknown) => error);
  const end = async (): Promise<unknown> => {
    ending.abort();
    links.close();
    const failure = await connecting;
    await listener.close();
    await rm(folder, { recursive: true });
    return failure;
  };
  return { end };
}

it('a generation that ends lets go of a peer that has not answered yet', async () => {
  let reached: () => void = ignore;
  const peer = new Promise<void>((resolve) => (reached = resolve));
  const { end } = await beginLinks(() => {
    reached();
  });
  await peer;
  expect(await end()).toMatchObject({ code: 'ERR_CONNECT' });
});

it('a peer that is cut off before it answers is tried again, until the generation ends', async () => {
  let numTries = 0;
  let reached: () => void = ignore;
  const again = new Promise<void>((resolve) => (reached = resolve));
  const { end } = await beginLinks((peer) => {
    if (++numTries === 1) peer.terminate();
    else reached();
  });
  await again;
  expect(await end()).toMatchObject({ code: 'ERR_CONNECT' });
});
