/**
 * The rules of the house hold, and each of them fires: a small tree with one violation per rule, beside what is allowed,
 * is checked by the same configuration.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { IConfiguration } from 'dependency-cruiser';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
// A .cjs file has no types; its own comment says which it is of.
const config = createRequire(import.meta.url)('../../.dependency-cruiser.cjs') as IConfiguration;
const ruleNames = (config.forbidden ?? []).map((rule) => rule.name ?? 'unnamed');
const execute = promisify(execFile);

/** What a test file may leave behind, and what the check says of it. */
const leaks: Readonly<Record<string, { readonly body: string; readonly message: RegExp }>> = {
  process: { body: `spawn('sleep', ['60']);`, message: /process \d+ \(sleep 60\), opened at .*process\.test\.mjs:\d+/ },
  grandchild: {
    body: `await execute('sh', ['-c', 'sleep 61 >/dev/null 2>&1 &']);`,
    message: /process \d+ \(sleep 61\)/,
  },
  server: { body: `await listen();`, message: /server on .*"port":\d+.*server\.test\.mjs:\d+/ },
  socket: { body: `await connect(await listen());`, message: /socket from 127.0.0.1:\d+ to 127.0.0.1:\d+, opened at/ },
  thread: {
    body: `new Worker('setInterval(() => {}, 1e6)', { eval: true });`,
    message: /worker thread \d+, opened at/,
  },
  watcher: { body: `watch('.');`, message: /1 FSEventWrap/ },
  tensor: { body: `(await import('@tensorflow/tfjs')).tensor1d([1]);`, message: /1 live tensors/ },
};

const tidyBody = `
  (await import('@tensorflow/tfjs')).tensor1d([1]).dispose();
  const server = await listen();
  const socket = await connect(server);
  const child = spawn('sleep', ['60']);
  new Worker('0', { eval: true });
  child.kill();
  socket.destroy();
  server.close();`;

interface Outcome {
  readonly name: string;
  readonly status: string;
  readonly message: string;
}

interface Cruised {
  readonly summary: {
    readonly totalCruised: number;
    readonly violations: readonly {
      readonly from: string;
      readonly to: string;
      readonly rule: { readonly name: string };
    }[];
  };
}

const packages = ['@tensorflow/tfjs', 'msgpackr', 'pino', 'ws', 'left-pad', 'vitest'];

const installed = Object.fromEntries(
  packages.flatMap((name) => [
    [`node_modules/${name}/package.json`, JSON.stringify({ name, version: '1.0.0', main: 'index.js' })],
    [`node_modules/${name}/index.js`, 'module.exports = 1;'],
  ]),
);

/** A tree that breaks each rule once; the files named "allowed" come near to it and are right. */
const planted: Readonly<Record<string, string>> = {
  ...installed,
  'package.json': JSON.stringify({
    name: 'planted',
    type: 'module',
    dependencies: { '@tensorflow/tfjs': '*', msgpackr: '*', pino: '*', ws: '*' },
    devDependencies: { vitest: '*' },
  }),
  'tsconfig.json': JSON.stringify({ compilerOptions: { module: 'nodenext', verbatimModuleSyntax: true } }),
  'index.ts': `export { a } from './src/value.js';`,
  'src/value.ts': `export const a = 1; export type A = number;`,
  'src/to-worker.ts': `import type { B } from '../worker/value.js'; export type C = B;`,
  'src/with-timer.ts': `import { setTimeout } from 'node:timers/promises'; export const wait = setTimeout;`,
  'src/allowed-random.ts': `import { randomBytes } from 'node:crypto'; export const r = randomBytes;`,
  'src/allowed-types.ts': `import type { Tensor } from '@tensorflow/tfjs'; export type T = Tensor;`,
  'src/cycle.ts': `import './cycle-back.js'; export const c = 1;`,
  'src/cycle-back.ts': `import type { c } from './cycle.js'; export type D = typeof c;`,
  'src/orphan.ts': `export const lonely = 1;`,
  'src/to-nowhere.ts': `import './no-such-file.js';`,
  'src/with-ws.ts': `import type { WebSocket } from 'ws'; export type W = WebSocket;`,
  'src/protocol/codec.ts': `import 'msgpackr';`,
  'transport/allowed-listener.ts': `import 'ws'; import '../src/value.js';`,
  'transport/to-coordinator.ts': `import '../coordinator/value.js';`,
  'coordinator/value.ts': `export const b = 1;`,
  'coordinator/to-worker.ts': `import '../worker/value.js';`,
  'coordinator/to-bin.ts': `import '../bin/log.js';`,
  'coordinator/to-barrel.ts': `import '../index.js';`,
  'coordinator/with-tensors.ts': `import { zeros } from '@tensorflow/tfjs'; export const z = zeros;`,
  'coordinator/with-msgpack.ts': `import 'msgpackr';`,
  'coordinator/with-pino.ts': `import 'pino';`,
  'coordinator/with-dev.ts': `import 'vitest';`,
  'coordinator/with-unlisted.ts': `import 'left-pad';`,
  'coordinator/allowed-file.ts': `import 'node:fs'; import 'node:http';`,
  'testing/to-coordinator.ts': `import '../coordinator/value.js';`,
  'worker/value.ts': `export type B = number;`,
  'worker/to-coordinator.ts': `import '../coordinator/value.js';`,
  'worker/compute/allowed-tensors.ts': `import '@tensorflow/tfjs';`,
  'worker/comm/comm-thread.ts': `export {};`,
  'bin/log.ts': `import 'pino';`,
  'bin/to-bench.ts': `import '../bench/main.js';`,
  'bench/main.ts': `import '../bin/log.js';`,
  'bin/allowed-both.ts': `import '../coordinator/value.js'; import '../worker/value.js';`,
};

const expected = [
  'src-below-all: src/to-worker.ts',
  'transport-below-both-sides: transport/to-coordinator.ts',
  'coordinator-not-to-worker: coordinator/to-worker.ts',
  'worker-not-to-coordinator: worker/to-coordinator.ts',
  'sides-not-to-bin: coordinator/to-bin.ts',
  'not-to-barrel: coordinator/to-barrel.ts',
  'testing-outside: testing/to-coordinator.ts',
  'not-to-bench: bin/to-bench.ts',
  'no-cycles: src/cycle-back.ts',
  'src-pure: src/with-timer.ts',
  'tensorflow-in-compute: coordinator/with-tensors.ts',
  'ws-in-transports: src/with-ws.ts',
  'msgpackr-in-codec: coordinator/with-msgpack.ts',
  'pino-in-log: coordinator/with-pino.ts',
  'no-dev-dependencies: coordinator/with-dev.ts',
  'no-unlisted-packages: coordinator/with-unlisted.ts',
  'no-unresolved: src/to-nowhere.ts',
  'no-orphans: src/orphan.ts',
];

describe('the rules of imports', () => {
  let folder: string;
  let fired: string[];

  beforeAll(async () => {
    folder = await plant(planted);
    fired = violations(await cruise(folder));
  });

  afterAll(() => rm(folder, { recursive: true }));

  test.each(ruleNames)('%s fires at what was planted, and at nothing else', (name) => {
    const ofRule = (lines: string[]) => lines.filter((line) => line.startsWith(`${name}: `)).sort();
    expect(ofRule(fired)).toEqual(ofRule(expected));
    expect(ofRule(fired)).not.toEqual([]);
  });

  test('no planted file breaks a rule that is not listed', () => {
    expect([...fired].sort()).toEqual([...expected].sort());
  });

  test('the tree itself breaks none', async () => {
    const cruised = await cruise(root);
    expect(cruised.summary.totalCruised).toBeGreaterThan(10);
    expect(violations(cruised)).toEqual([]);
  });
});

describe('the check for leaks', () => {
  let outcomes: ReadonlyMap<string, Outcome>;

  // All in one run: each leaky file waits for what it left to close by itself.
  beforeAll(async () => {
    const bodies = Object.entries(leaks).map(([name, { body }]) => [name, body] as const);
    outcomes = await runLeaky({ ...Object.fromEntries(bodies), tidy: tidyBody });
  }, 60_000);

  test.each(Object.entries(leaks))('fails a test file that leaves a %s behind, and names it', (name, { message }) => {
    const outcome = outcomes.get(`${name}.test.mjs`);
    expect(outcome?.status).toBe('failed');
    expect(outcome?.message).toMatch(message);
  });

  test('passes a test file that closes what it opened', () => {
    expect(outcomes.get('tidy.test.mjs')).toMatchObject({ status: 'passed', message: '' });
  });
});

test('every decision page is in the list of decisions', async () => {
  const folder = join(root, 'docs/decisions');
  const list = await readFile(join(folder, 'README.md'), 'utf8');
  const pages = (await readdir(folder)).filter((name) => name !== 'README.md');
  expect(pages.filter((name) => !list.includes(`](${name})`))).toEqual([]);
});

async function cruise(folder: string): Promise<Cruised> {
  const binary = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
  const roots = ['index.ts', 'bin', 'src', 'transport', 'coordinator', 'worker', 'testing', 'bench'].filter((name) =>
    existsSync(join(folder, name)),
  );
  const options = ['--config', join(root, '.dependency-cruiser.cjs'), '--output-type', 'json'];
  const { stdout } = await execute(process.execPath, [binary, ...options, ...roots], {
    cwd: folder,
    maxBuffer: 64 * 1024 * 1024,
  });
  return JSON.parse(stdout) as Cruised;
}

function violations({ summary }: Cruised): string[] {
  return summary.violations.map(({ rule, from }) => `${rule.name}: ${from}`);
}

/** Runs vitest on test files with these bodies and this repository's check for leaks; the outcomes, by file name. */
async function runLeaky(bodies: Readonly<Record<string, string>>): Promise<ReadonlyMap<string, Outcome>> {
  const tests = Object.entries(bodies).map(([name, body]): [string, string] => [`${name}.test.mjs`, leakyTest(body)]);
  const folder = await plant({ ...Object.fromEntries(tests), 'vitest.config.mjs': leakyConfig });
  try {
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
    const vitest = [join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--root', folder];
    // Exit code 1, for tests fail.
    const { stdout } = await execute(process.execPath, vitest, { cwd: folder }).catch(
      (error: unknown) => error as { stdout: string },
    );
    const { testResults } = JSON.parse(stdout) as { testResults: readonly Outcome[] };
    return new Map(testResults.map((outcome) => [basename(outcome.name), outcome]));
  } finally {
    await rm(folder, { recursive: true });
  }
}

const leakyConfig = `export default ${JSON.stringify({
  test: {
    pool: 'forks',
    maxWorkers: Object.keys(leaks).length + 1,
    setupFiles: [join(root, 'test/setup/leaks.ts')],
    reporters: ['json'],
  },
})};`;

function leakyTest(body: string): string {
  return `
    import { execFile, spawn } from 'node:child_process';
    import { once } from 'node:events';
    import { watch } from 'node:fs';
    import net from 'node:net';
    import { promisify } from 'node:util';
    import { Worker } from 'node:worker_threads';
    import { test } from 'vitest';
    const execute = promisify(execFile);
    async function listen() { const s = net.createServer().listen(0, '127.0.0.1'); await once(s, 'listening'); return s; }
    async function connect(s) { const c = net.connect(s.address().port, '127.0.0.1'); await once(c, 'connect'); return c; }
    test('leaks', async () => { ${body} });`;
}

async function plant(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-house-'));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
  return folder;
}
