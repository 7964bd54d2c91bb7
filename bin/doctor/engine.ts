/** The engine, what building one needs, and the GPUs that it could use. */
import { compiler } from '../../worker/compute/engine/addon.js';
import { findCurrent, type CurrentEngine } from '../../worker/compute/engine/cache.js';
import { run as runCommand, type Run } from '../../worker/compute/engine/command.js';
import { hasNvidiaDriver } from '../../worker/compute/engine/environment.js';
import { testEngine, type SelfTest } from '../../worker/compute/engine/self-test.js';
import { toLockstepError } from '../../src/errors.js';
import type { CheckResult } from './check.js';

const briefMs = 20_000;

/** What the checks here look at; tests give their own. */
export interface EngineProbes {
  readonly current: () => CurrentEngine;
  readonly test: (directory: string) => Promise<SelfTest>;
  readonly run: Run;
  readonly driver: () => boolean;
}

export const realProbes: EngineProbes = {
  current: findCurrent,
  test: testEngine,
  run: runCommand,
  driver: hasNvidiaDriver,
};

/** Multiplies matrices with the engine, in a process of its own: a crash of TensorFlow is an answer too. */
export async function checkEngine({ current: find, test }: EngineProbes): Promise<CheckResult> {
  const name = 'engine';
  const current = find();
  if (!current.found) {
    const found = `none (${current.reason}); training runs in plain JavaScript, 10 to 100 times slower`;
    return { name, status: 'bad', found, mend: 'lockstep engine install' };
  }
  const { tensorflow, variant, source } = current.manifest;
  const found = `TensorFlow ${tensorflow}, ${variant} build, from ${source}`;
  try {
    const { device } = await test(current.directory);
    return { name, status: 'ok', found: `${found}; it computes, on the ${device}` };
  } catch (error) {
    const problem = toLockstepError(error).message;
    return {
      name,
      status: 'bad',
      found: `${found}; it does not compute: ${problem}`,
      mend: 'lockstep engine install --force',
    };
  }
}

export async function checkCompiler(probes: EngineProbes): Promise<CheckResult> {
  const name = 'C++ compiler';
  try {
    const version = await probes.run(compiler(), ['--version'], { timeoutMs: briefMs });
    return { name, status: 'ok', found: version.split('\n', 1).join('') };
  } catch (error) {
    const mend = 'Debian, Ubuntu: apt install g++; Fedora, RHEL: dnf install gcc-c++; or name yours in CXX';
    return { name, status: neededForEngine(probes), found: toLockstepError(error).message, mend };
  }
}

export async function checkPython(probes: EngineProbes): Promise<CheckResult> {
  const name = 'python3 and pip';
  try {
    const version = await probes.run('python3', ['-m', 'pip', '--version'], { timeoutMs: briefMs });
    return { name, status: 'ok', found: version.trim() };
  } catch (error) {
    const mend =
      'apt install python3-pip, or python3 -m ensurepip; or set LOCKSTEP_LIBTENSORFLOW to your own TensorFlow';
    return { name, status: neededForEngine(probes), found: toLockstepError(error).message, mend };
  }
}

/** An engine that is built already needs neither compiler nor pip. */
function neededForEngine({ current }: EngineProbes): 'note' | 'bad' {
  return current().found ? 'note' : 'bad';
}

const gpuQuery = ['--query-gpu=index,name,memory.total,driver_version', '--format=csv,noheader'];

/** No GPU is no failure; one that the engine cannot use is said. */
export async function checkGpus({ run, driver, current: find }: EngineProbes): Promise<CheckResult> {
  const name = 'GPUs';
  if (!driver()) return { name, status: 'note', found: 'no NVIDIA driver; training runs on the CPU' };
  const current = find();
  try {
    const found = (await run('nvidia-smi', gpuQuery, { timeoutMs: briefMs })).trim().replaceAll('\n', '; ');
    if (!current.found || current.manifest.variant === 'gpu') return { name, status: 'ok', found };
    const mend = 'lockstep engine install --device gpu';
    return { name, status: 'note', found: `${found}; the engine is a CPU build and does not use them`, mend };
  } catch (error) {
    const found = `there is an NVIDIA driver, and ${toLockstepError(error).message}`;
    return { name, status: 'note', found, mend: 'make nvidia-smi work first: it comes with the driver' };
  }
}
