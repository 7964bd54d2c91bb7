/**
 * What a frame costs a comm thread that always has something to do, measured on this machine: both ends of one Unix socket
 * in this process, through the transport of a run. Two workers never send so many frames that it could be told from their
 * figures, and of a thousand workers it is the limit.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { frameHeaderBytes } from '../../src/protocol/frame.js';
import { defaultLimits } from '../../src/protocol/limits.js';
import { dial } from '../../transport/dialler.js';
import type { Connection } from '../../transport/connection.js';
import { Listener } from '../../transport/listener.js';

const numWarmups = 20_000;
const numFrames = 100_000;
/** Frames under way at once, as when all peers send. */
const window = 64;
const payload = new Uint8Array(64);
const received = new Uint8Array(64);
const header = new Uint8Array(frameHeaderBytes);

/** Seconds for sending one frame, and as many for receiving one: half of what both take together. */
export async function measureFrameCost(): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-bench-'));
  const shared = { token: 'bench', limits: defaultLimits, maxMessageBytes: 65_536, bulk: true } as const;
  const endpoint = { kind: 'unix', path: join(folder, 'peer.sock') } as const;
  let accept: (connection: Connection) => void = ignore;
  const accepted = new Promise<Connection>((resolve) => (accept = resolve));
  const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
  const listener = await Listener.listen({
    ...shared,
    endpoint,
    log,
    onConnection: (connection) => {
      accept(connection);
    },
  });
  try {
    const sender = await dial({ ...shared, endpoint });
    const receiver = await accepted;
    let onFrame: () => void = ignore;
    const frames = {
      headerBytes: frameHeaderBytes,
      begin: () => received,
      progress: ignore,
      end: () => {
        onFrame();
      },
    };
    const options = { timeoutMs: defaultLimits.authenticationTimeoutMs };
    await Promise.all([sender.openBulk(frames, options), receiver.openBulk(frames, options)]);
    const listen = (told: () => void): void => {
      onFrame = told;
    };
    await pump(sender, listen, numWarmups);
    const startedMs = performance.now();
    await pump(sender, listen, numFrames);
    const seconds = (performance.now() - startedMs) / 1000;
    sender.terminate();
    return seconds / numFrames / 2;
  } finally {
    await listener.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Keeps `window` frames under way until `count` have come. */
function pump(sender: Connection, listen: (told: () => void) => void, count: number): Promise<void> {
  return new Promise((resolve) => {
    let numSent = 0;
    let numReceived = 0;
    const send = (): void => {
      numSent += 1;
      sender.sendBulk(header, payload, ignore);
    };
    listen(() => {
      numReceived += 1;
      if (numSent < count) send();
      else if (numReceived === count) resolve();
    });
    while (numSent < Math.min(window, count)) send();
  });
}

function ignore(): void {
  // What a connection tells of itself is of no interest here.
}
