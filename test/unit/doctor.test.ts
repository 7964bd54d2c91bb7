/** What `lockstep doctor` answers about machines that lack something, and its output. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { doctorCommand } from '../../bin/commands/doctor.js';
import { formatResults } from '../../bin/doctor/check.js';
import { checkCompiler, checkEngine, checkGpus, checkPython, type EngineProbes } from '../../bin/doctor/engine.js';
import { checkCores, checkMemory, checkNode, checkOpenFiles, checkSharedMemory } from '../../bin/doctor/machine.js';
import { checkPorts, checkUnixSocket } from '../../bin/doctor/network.js';
import { LockstepError } from '../../src/errors.js';
import type { CurrentEngine } from '../../worker/compute/engine/cache.js';

// The matchers are typed any.
const containing = (text: string): unknown => expect.stringContaining(text);

const engine: Extract<CurrentEngine, { found: true }> = {
  found: true,
  directory: '/cache/engines/one',
  manifest: {
    format: 1,
    key: 'one',
    tfjsNode: '4.22.0',
    tensorflow: '2.21.0',
    variant: 'cpu',
    source: 'the wheel',
    napi: 8,
    platform: 'linux-x64',
    libraries: [],
    installedAt: '2026-01-01T00:00:00.000Z',
  },
};

/** A machine with an engine that works, no GPU, and tools that answer "1.0". */
function probes(more: Partial<EngineProbes> = {}): EngineProbes {
  return {
    current: () => engine,
    test: async () => ({ product: [], tensorflow: '2.21.0', device: 'cpu' }),
    run: async () => '1.0',
    driver: () => false,
    ...more,
  };
}

const noEngine = () => ({ found: false, reason: 'no engine is installed' }) as const;

const notInstalled: EngineProbes['run'] = async (command) => {
  throw new LockstepError('ERR_ENGINE_INSTALL', `${command} is not installed`);
};

describe('the engine', () => {
  test('is ok when it computes', async () => {
    expect(await checkEngine(probes())).toEqual({
      name: 'engine',
      status: 'ok',
      found: 'TensorFlow 2.21.0, cpu build, from the wheel; it computes, on the cpu',
    });
  });

  test('is bad when there is none, with the command that installs it', async () => {
    const result = await checkEngine(probes({ current: noEngine }));
    expect(result).toMatchObject({ status: 'bad', mend: 'lockstep engine install' });
    expect(result.found).toContain('none (no engine is installed)');
  });

  test('is bad when its process dies, with the signal', async () => {
    const died = new LockstepError('ERR_ENGINE_INSTALL', 'node failed with signal SIGILL: it said nothing');
    const result = await checkEngine(probes({ test: () => Promise.reject(died) }));
    expect(result).toMatchObject({ status: 'bad', mend: 'lockstep engine install --force' });
    expect(result.found).toContain('it does not compute: node failed with signal SIGILL');
  });
});

describe('the tools that build the engine', () => {
  test.each([
    ['the compiler', checkCompiler],
    ['pip', checkPython],
  ])('%s is needed only until there is an engine', async (_, check) => {
    expect(await check(probes())).toMatchObject({ status: 'ok', found: '1.0' });
    expect(await check(probes({ run: notInstalled }))).toMatchObject({ status: 'note' });
    const missing = await check(probes({ run: notInstalled, current: noEngine }));
    expect(missing).toMatchObject({ status: 'bad', found: containing('is not installed') });
    expect(missing.mend).toContain('apt install');
  });
});

describe('the GPUs', () => {
  const gpu = '0, NVIDIA H100, 81559 MiB, 570.86';

  test('are no failure when there are none', async () => {
    expect(await checkGpus(probes())).toMatchObject({
      status: 'note',
      found: containing('no NVIDIA driver'),
    });
  });

  test('are said to be idle when the engine is a CPU build', async () => {
    const result = await checkGpus(probes({ driver: () => true, run: async () => gpu }));
    expect(result).toMatchObject({ status: 'note', mend: 'lockstep engine install --device gpu' });
  });

  test('are ok when the engine is a GPU build', async () => {
    const current = () => ({ ...engine, manifest: { ...engine.manifest, variant: 'gpu' as const } });
    expect(await checkGpus(probes({ driver: () => true, run: async () => gpu, current }))).toEqual({
      name: 'GPUs',
      status: 'ok',
      found: gpu,
    });
  });
});

describe('the machine', () => {
  test.each([
    ['18.20.8', 'bad'],
    ['20.18.3', 'bad'],
    ['20.19.0', 'ok'],
    ['24.1.0', 'ok'],
  ])('Node %s is %s', (version, status) => {
    expect(checkNode(version).status).toBe(status);
  });

  test.each([
    [64, 'bad'],
    [512, 'note'],
    [1024, 'ok'],
    ['unlimited', 'ok'],
  ])('%s open files are %s', (limit, status) => {
    const limits = `Limit                     Soft Limit           Hard Limit\nMax open files            ${limit}                 4096  files\n`;
    expect(checkOpenFiles(limits).status).toBe(status);
  });

  test('half a gibibyte of memory is bad, and 2 are ok', () => {
    expect(checkMemory(2 ** 29)).toMatchObject({ status: 'bad', found: '0.5 GiB available' });
    expect(checkMemory(2 ** 31)).toMatchObject({ status: 'ok', found: '2.0 GiB available' });
  });

  test('one core is a note', () => {
    expect(checkCores(1).status).toBe('note');
    expect(checkCores(2).status).toBe('ok');
  });

  test('memory that WebAssembly cannot share is bad', () => {
    vi.stubGlobal('WebAssembly', {});
    expect(checkSharedMemory()).toMatchObject({
      status: 'bad',
      found: containing('no shared WebAssembly'),
    });
    vi.unstubAllGlobals();
    expect(checkSharedMemory().status).not.toBe('bad');
  });
});

describe('the network', () => {
  test('listens on loopback and on a Unix socket here', async () => {
    expect(await checkPorts()).toMatchObject({ status: 'ok' });
    const folder = await mkdtemp(join(tmpdir(), 'lockstep-doctor-test-'));
    expect(await checkUnixSocket(folder)).toMatchObject({ status: 'ok' });
    await rm(folder, { recursive: true });
  });

  test('a folder whose path is too long for a socket is bad, with the way out', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'x'.repeat(100)));
    const result = await checkUnixSocket(folder);
    await rm(folder, { recursive: true });
    expect(result).toMatchObject({ status: 'bad', mend: containing('TMPDIR') });
  });
});

describe('the command', () => {
  afterEach(() => vi.restoreAllMocks());

  test('prints what it found as JSON, and fails with exit code 3 when something needed is missing', async () => {
    vi.stubEnv('XDG_CACHE_HOME', join(tmpdir(), 'lockstep-no-such-cache'));
    const written = vi.spyOn(process.stdout, 'write').mockReturnValue(true);

    const failure: unknown = await doctorCommand()
      .parseAsync(['--json'], { from: 'user' })
      .catch((error: unknown) => error);
    const output = JSON.parse(String(written.mock.calls[0]?.[0])) as { ok: boolean; checks: { name: string }[] };

    expect(failure).toMatchObject({ code: 'ERR_ENGINE_MISSING', exitCode: 3 });
    expect(output.ok).toBe(false);
    expect(output.checks.map(({ name }) => name)).toEqual([
      'node',
      'C++ compiler',
      'python3 and pip',
      'engine',
      'GPUs',
      'cores',
      'memory',
      'shared memory',
      'open files',
      'ports',
      'unix sockets',
    ]);
    expect(output.checks).toContainEqual(expect.objectContaining({ status: 'bad', mend: 'lockstep engine install' }));
  });
});

test('each line says status, name and what was found, and the next how to mend it', () => {
  const lines = formatResults([
    { name: 'node', status: 'ok', found: 'Node 20.19.0' },
    { name: 'engine', status: 'bad', found: 'none', mend: 'lockstep engine install' },
  ]);
  expect(lines).toBe(
    [
      'ok    node            Node 20.19.0',
      'bad   engine          none',
      '                      → lockstep engine install',
    ].join('\n'),
  );
});
