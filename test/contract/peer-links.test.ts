import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { defaultLimits } from '../../src/protocol/limits.js';
import { Connection } from '../../transport/connection.js';
import { dial } from '../../transport/dialler.js';
import { Listener } from '../../transport/listener.js';
import { PeerLinks } from '../../worker/comm/peer-links.js';

const ignore = (): void => undefined;
const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const shared = { token: 'a token of this test', limits: defaultLimits, maxMessageBytes: 1024 };
const frames = { headerBytes: 1, begin: () => null, progress: ignore, end: ignore };

let folder: string;
let listener: Listener;
/** Who comes to the listener first. */
let guest: Promise<Connection>;
/** Told of each that comes. */
let onGuest: (peer: Connection) => void;
let ending: AbortController;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lockstep-test-'));
  const endpoint = { kind: 'unix', path: join(folder, 'p.sock') } as const;
  let reached: (peer: Connection) => void = ignore;
  guest = new Promise<Connection>((resolve) => (reached = resolve));
  onGuest = reached;
  const onConnection = (peer: Connection): void => {
    onGuest(peer);
  };
  listener = await Listener.listen({ ...shared, endpoint, log, onConnection });
  ending = new AbortController();
});

afterEach(async () => {
  await listener.close();
  await rm(folder, { recursive: true });
});

/** Those of one of two workers that both listen there. */
function linksOf(rank: number): PeerLinks {
  const addresses = { hostId: 'h', unixPath: join(folder, 'p.sock'), tcp: [] };
  const workers = [0, 1].map((one) => {
    return { workerId: `w${one}`, rank: one, host: 'h', firstSlot: one, endSlot: one + 1, addresses, step: 0 };
  });
  return new PeerLinks({
    ...shared,
    runId: 'r',
    generation: { generation: 1, step: 0, resumeFrom: null, workers },
    rank,
    hostId: 'h',
    signal: ending.signal,
    memory: null,
    mount: () => false,
    frames: () => frames,
  });
}

it('a generation that ends lets go of a peer that has not answered yet', async () => {
  const links = linksOf(0);
  const connecting = links.connect().catch((error: unknown) => error);
  await guest;
  ending.abort();
  links.close();
  expect((await connecting) as Error).toMatchObject({ code: 'ERR_CONNECT' });
});

it('a peer is known before frames of it can come, as they are answered', async () => {
  const links = linksOf(1);
  const known: boolean[] = [];
  vi.spyOn(Connection.prototype, 'openBulk').mockImplementation(async () => {
    known.push(links.links.has(0));
  });
  const peer = await dial({ ...shared, endpoint: listener.endpoint });
  const accepting = links.accept(await guest);
  peer.send({ type: 'peer-hello', runId: 'r', generation: 1, rank: 0, workerId: 'w0', memory: null });
  peer.send({ type: 'peer-ready', mounts: false });
  await accepting;
  expect(known).toEqual([true]);
  peer.terminate();
});

it('a peer that is cut off before it answers is tried again, until the generation ends', async () => {
  let numTries = 0;
  let reached: () => void = ignore;
  const again = new Promise<void>((resolve) => (reached = resolve));
  onGuest = (peer) => {
    if (++numTries === 1) peer.terminate();
    else reached();
  };
  const links = linksOf(0);
  const connecting = links.connect().catch((error: unknown) => error);
  await again;
  ending.abort();
  links.close();
  expect(await connecting).toMatchObject({ code: 'ERR_CONNECT' });
});
