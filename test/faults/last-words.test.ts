/** What a coordinator says last to a worker, or first after a loss: a real worker, and a coordinator that says what the test wants. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { defaultLimits } from '../../src/protocol/limits.js';
import { fromWorkerSchema, type FromCoordinator, type FromWorker } from '../../src/protocol/messages.js';
import type { Connection } from '../../transport/connection.js';
import { formatEndpoint } from '../../transport/endpoint.js';
import { Listener } from '../../transport/listener.js';
import { JobFolder } from '../support/job-folder.js';
import { lockstepDone, LockstepProcess } from '../support/lockstep-command.js';
import { checkpointFiles } from '../support/run-files.js';

type Said<T extends FromWorker['type']> = Extract<FromWorker, { type: T }>;

const token = 'a token of this test';
const timeoutMs = 120_000;
const limits = defaultLimits;
const workerId = 'a';
const slots = 2;
/** An epoch has 12 steps. */
const job = 'test/e2e/fixtures/points.ts';

let folder: JobFolder;
let tokenFile: string;
beforeAll(async () => {
  folder = await JobFolder.make();
  tokenFile = await folder.write('token', token);
});
afterAll(() => folder[Symbol.asyncDispose]());

const ignore = (): void => undefined;

/** A worker on its way, and this side of its connection. */
class Scripted implements AsyncDisposable {
  readonly worker: LockstepProcess;
  readonly #listener: Listener;
  readonly #connection: Connection;

  private constructor(listener: Listener, connection: Connection, worker: LockstepProcess) {
    this.#listener = listener;
    this.#connection = connection;
    this.worker = worker;
  }

  static async start(): Promise<Scripted> {
    let connected: (connection: Connection) => void = () => undefined;
    const first = new Promise<Connection>((resolve) => (connected = resolve));
    const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
    const endpoint = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
    const listening = {
      endpoint,
      token,
      limits,
      maxMessageBytes: limits.maxControlBytes,
      log,
      onConnection: connected,
    };
    const listener = await Listener.listen(listening);
    const files = ['--token-file', tokenFile, '--id', workerId, '--device', 'cpu'];
    const worker = LockstepProcess.start(['worker', '--join', formatEndpoint(listener.endpoint), ...files]);
    return new Scripted(listener, await first, worker);
  }

  say(message: FromCoordinator): void {
    this.#connection.send(message);
  }

  /** The next message of this type; others are passed over. */
  async hear<T extends FromWorker['type']>(type: T): Promise<Said<T>> {
    for (;;) {
      const message = await this.#connection.receive(fromWorkerSchema, { what: type, timeoutMs });
      if (message.type === type) return message as Said<T>; // by its type
    }
  }

  /** Up to where it may take steps. */
  async enter(known: {
    readonly step: number;
    readonly resumeFrom: string | null;
    readonly validated: number;
  }): Promise<void> {
    const { host } = await this.hear('hello');
    const run = { runId: 'r', term: 1, runDir: folder.at('run'), runDirMark: null, heartbeatMs: 100, served: null };
    const what = { jobPath: job, overrides: ['epochs=1000000'], slots, threads: 1 };
    this.say({ type: 'welcome', plan: { ...run, ...what, steps: null, resumeFrom: null } });
    const { addresses } = await this.hear('ready');
    const { step, resumeFrom, validated } = known;
    const self = { workerId, rank: 0, host, firstSlot: 0, endSlot: slots, addresses, step: null };
    this.say({ type: 'generation', generation: 1, step, resumeFrom, workers: [self] });
    await this.hear('connected');
    this.say({ type: 'start', generation: 1, inMemory: false, told: step, validated });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.worker.signal('SIGKILL');
    await this.worker.ended;
    await this.#listener.close();
  }
}

test('a worker that is let go while all agree where the run ends, ends', { timeout: timeoutMs }, async () => {
  await using run = await Scripted.start();
  await run.enter({ step: 0, resumeFrom: null, validated: 0 });
  await run.hear('progress');
  run.say({ type: 'drain' });
  await run.hear('draining');
  run.say({ type: 'goodbye' });
  const { exitCode, stderr } = await run.worker.ended;
  expect(exitCode, stderr.join('\n')).toBe(0);
});

test.each([
  ['is told where the coordinator lacks it', 0, 12],
  ['is not told where the coordinator has it', 12, 24],
])(
  'a validation after the step of a checkpoint that all read %s',
  async (_what, validated, firstTold) => {
    const runDir = folder.at(`points-${validated}`);
    await lockstepDone(['train', job, '--set', `slots=${slots}`, '--epochs', '1', '--run-dir', runDir]);
    const [checkpoint = ''] = checkpointFiles(runDir);
    await using run = await Scripted.start();
    await run.enter({ step: 12, resumeFrom: join(runDir, 'checkpoints', checkpoint), validated });
    const { step, slots: told } = await run.hear('evaluated');
    expect({ step, slots: told.map(({ slot }) => slot) }).toEqual({ step: firstTold, slots: [0, 1] });
  },
  timeoutMs,
);
