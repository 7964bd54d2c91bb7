import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { defaultLimits } from '../../src/protocol/limits.js';
import type { Connection } from '../../transport/connection.js';
import { Listener } from '../../transport/listener.js';
import { PeerLinks } from '../../worker/comm/peer-links.js';

it('a generation that ends lets go of a peer that has not answered yet', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-test-'));
  const unixPath = join(folder, 'p.sock');
  const ignore = (): void => undefined;
  const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
  let reached: (peer: Connection) => void = ignore;
  const peer = new Promise<Connection>((resolve) => (reached = resolve));
  const shared = { token: 'a token of this test', limits: defaultLimits, maxMessageBytes: 1024 };
  const listener = await Listener.listen({
    ...shared,
    endpoint: { kind: 'unix', path: unixPath },
    log,
    onConnection: reached,
  });
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
  await peer;
  ending.abort();
  links.close();
  expect((await connecting) as Error).toMatchObject({ code: 'ERR_CONNECT' });
  await listener.close();
  await rm(folder, { recursive: true });
});
