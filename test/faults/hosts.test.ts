/**
 * Runs on hosts of their own, made of network namespaces, whose network fails: what is slow or lossy is borne, who is cut off
 * is lost, and the weights are those of one worker that was left alone.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { errorLines, lockstepDone, LockstepProcess } from '../support/lockstep-command.js';
import { checkpointFiles, readMetrics, readSummary, type SummaryFile } from '../support/run-files.js';
import { lackOfHosts, VirtualHosts } from '../support/virtual-hosts.js';

const settings = ['test/e2e/fixtures/points.ts', '--set', 'slots=4', '--set', 'threads=1', '--epochs', '1000000'];
const pollMs = 20;
/** Three times what it takes where nothing else runs. */
const timeoutMs = 120_000;

const lack = lackOfHosts();
if (lack !== null) process.stderr.write(`hosts.test.ts: skipped, because ${lack}\n`);

/** A coordinator and its workers, each on a host that has its name. */
class Cluster {
  readonly hosts: VirtualHosts;
  readonly #folder: JobFolder;
  readonly #processes = new Map<string, LockstepProcess>();

  readonly #args: readonly string[];

  private constructor(hosts: VirtualHosts, folder: JobFolder, args: readonly string[]) {
    this.hosts = hosts;
    this.#folder = folder;
    this.#args = args;
  }

  /** Whatever there is of it by then is gone when the test has ended, however it does. */
  static async start(workers: readonly string[], args: readonly string[]): Promise<Cluster> {
    const folder = await JobFolder.make();
    onTestFinished(() => folder[Symbol.asyncDispose]());
    const hosts = await VirtualHosts.make('head', ...workers);
    onTestFinished(() => {
      hosts.close();
    });
    const cluster = new Cluster(hosts, folder, args);
    onTestFinished(() => cluster.#endAll());
    await folder.write('token', 'a secret that only this test knows\n');
    const files = ['--run-dir', folder.at('run'), '--summary', folder.at('run.json')];
    const listen = ['--listen', `${cluster.hosts.address('head')}:0`];
    cluster.#start('head', ['coordinator', ...settings, '--workers', `${workers.length}`, ...listen, ...files]);
    const [, url = ''] = await cluster.of('head').line(/--join (\S+)/);
    for (const name of workers) cluster.join(name, url);
    return cluster;
  }

  of(name: string): LockstepProcess {
    const process = this.#processes.get(name);
    if (!process) throw new Error(`Nothing was started on ${name}`);
    return process;
  }

  join(name: string, url: string): void {
    this.#start(name, ['worker', '--join', url, '--id', name, '--listen', `${this.hosts.address(name)}:0`]);
  }

  /** The last that the coordinator has been told of. */
  get step(): number {
    return this.#told.at(-1) ?? 0;
  }

  get #told(): number[] {
    return readMetrics(this.#folder.at('run')).flatMap(({ step, loss }) => (loss === undefined ? [] : step));
  }

  expectEachStepToldOnce(numSteps: number): void {
    expect(this.#told).toEqual(Array.from({ length: numSteps }, (_, i) => i + 1));
  }

  /** Resolves when rank 0 has written so many more, which takes no coordinator. */
  async checkpoints(numMore: number): Promise<void> {
    const seen = new Set(checkpointFiles(this.#folder.at('run')));
    const target = seen.size + numMore;
    while (seen.size < target) {
      await delay(pollMs);
      for (const name of checkpointFiles(this.#folder.at('run'))) seen.add(name);
    }
  }

  /** Resolves when so many more have been told of. */
  async steps(numMore: number): Promise<void> {
    const target = this.step + numMore;
    while (this.step < target) await delay(pollMs);
  }

  /** Ctrl-C, and one worker that takes as many steps as it was. */
  async stop(): Promise<{ readonly summary: SummaryFile; readonly weightsSha256: string | null }> {
    this.of('head').signal('SIGINT');
    const ended = await this.of('head').ended;
    expect(ended.exitCode, ended.stderr.join('\n')).toBe(0);
    const summary = readSummary(this.#folder.at('run.json'));
    const files = ['--run-dir', this.#folder.at('alone'), '--summary', this.#folder.at('alone.json')];
    await lockstepDone(['train', ...settings, '--workers', '1', '--steps', `${summary.steps}`, ...files]);
    return { summary, weightsSha256: readSummary(this.#folder.at('alone.json')).weightsSha256 };
  }

  async #endAll(): Promise<void> {
    for (const process of this.#processes.values()) process.signal('SIGKILL');
    await Promise.all([...this.#processes.values()].map(({ ended }) => ended));
  }

  #start(host: string, args: readonly string[]): void {
    const token = ['--token-file', this.#folder.at('token')];
    this.#processes.set(
      host,
      LockstepProcess.start([...args, ...this.#args, ...token], { through: this.hosts.on(host), hostName: host }),
    );
  }
}

async function start(workers: readonly string[], args: readonly string[] = []): Promise<Cluster> {
  const cluster = await Cluster.start(workers, args);
  await cluster.steps(10);
  return cluster;
}

test.runIf(lack === null)(
  'a network that is slow or loses frames ends no worker, and changes no bit',
  { timeout: timeoutMs },
  async () => {
    const run = await start(['a', 'b', 'c']);
    run.hosts.network.weather = { delayMs: 100 };
    await run.steps(20);
    run.hosts.network.weather = { loss: 0.01 };
    await run.steps(200);
    const { summary, weightsSha256 } = await run.stop();
    expect(summary.recoveries).toEqual([]);
    expect(summary.weightsSha256).toBe(weightsSha256);
  },
);

test.runIf(lack === null)(
  'a coordinator that is cut off costs no step, and has all its workers when it is back',
  { timeout: timeoutMs },
  async () => {
    const run = await start(['a', 'b', 'c']);
    run.hosts.isolate('head');
    const cutOff = /^Nothing is heard of any worker: this host may be cut off from the network/;
    await run.of('head').line(cutOff);
    const before = run.step;
    await run.checkpoints(3);
    run.hosts.network.mend();
    await run.of('head').line(/^the coordinator is back after \d+ s, at step \d+: 3 workers go on$/);
    run.hosts.unplug('head');
    await run.of('head').line(cutOff, 2);
    await run.checkpoints(3);
    run.hosts.plugIn('head');
    await run.steps(20);
    const { summary, weightsSha256 } = await run.stop();
    const back = { kind: 'coordinator', workerId: null, why: 'it was cut off from all workers', recomputedSlots: 0 };
    expect(summary).toMatchObject({ generations: 1, recoveries: [back, back] });
    expect((summary.recoveries[0] as { readonly step: number }).step).toBeGreaterThan(before + 24);
    expect(summary.weightsSha256).toBe(weightsSha256);
    run.expectEachStepToldOnce(summary.steps);
  },
);

test.runIf(lack === null)(
  'a worker that is not heard, or hears nothing, or has no network, is lost, and the others go on to the same bits',
  { timeout: timeoutMs },
  async () => {
    const run = await start(['a', 'b', 'c', 'd']);
    run.hosts.silence('d');
    await run
      .of('head')
      .line(/^worker d is lost at step \d+ \(it was silent for \d+ ms.*: 3 workers go on with its slots$/);
    await run.steps(20);
    run.hosts.deafen('c');
    await run
      .of('head')
      .line(/^worker c is lost at step \d+ \(it was silent for \d+ ms.*: 2 workers go on with its slots$/);
    await run.steps(20);
    run.hosts.unplug('b');
    await run
      .of('head')
      .line(/^worker b is lost at step \d+ \(it was silent for \d+ ms.*: one worker goes on with its slots$/);
    await run.steps(20);
    run.hosts.network.mend();
    run.hosts.plugIn('b');
    for (const name of ['b', 'c', 'd']) {
      const ended = await run.of(name).ended;
      expect([ended.exitCode, ...errorLines(ended)]).toEqual([
        1,
        expect.stringMatching(/is out of the run.*ERR_WORKER_LOST/),
      ]);
    }
    const { summary, weightsSha256 } = await run.stop();
    expect(summary.recoveries).toMatchObject(['d', 'c', 'b'].map((workerId) => ({ kind: 'silent', workerId })));
    expect(summary.weightsSha256).toBe(weightsSha256);
    run.expectEachStepToldOnce(summary.steps);
  },
);

test.runIf(lack === null)(
  'of two workers that do not reach one another one leaves, and the others go on to the same bits',
  { timeout: timeoutMs },
  async () => {
    const run = await start(['a', 'b', 'c'], ['--connect-timeout-ms', '6000']);
    await run.steps(150); // the first ones are slow, and how long one may take follows from that
    run.hosts.part('b', 'c');
    await run.of('head').line(/^warn: nothing has got on for \d+ ms: .*The workers connect to one another anew\.$/);
    await run.of('head').line(/^worker b is lost at step \d+ \(it failed: Worker c on c cannot be reached from here/);
    await run.steps(20);
    const { summary, weightsSha256 } = await run.stop();
    expect(summary.recoveries).toMatchObject([{ kind: 'lost', workerId: 'b' }]);
    expect(summary.weightsSha256).toBe(weightsSha256);
    run.expectEachStepToldOnce(summary.steps);
  },
);
