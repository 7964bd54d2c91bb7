/** What the machine and its limits offer: Node, cores, memory, shared memory, open files. */
import { readFileSync, statfsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { CheckResult } from './check.js';

const gib = 2 ** 30;
const oldestNode = [20, 19] as const;

/** @param version as in `process.versions.node` */
export function checkNode(version: string = process.versions.node): CheckResult {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const found = `Node ${version}`;
  if (major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1]))
    return { name: 'node', status: 'ok', found };
  return { name: 'node', status: 'bad', found, mend: `install Node ${oldestNode.join('.')} or later` };
}

export function checkCores(cores: number = availableParallelism()): CheckResult {
  const found = `${cores} usable by this process`;
  if (cores > 1) return { name: 'cores', status: 'ok', found };
  return { name: 'cores', status: 'note', found, mend: 'with two, communication runs beside the computation' };
}

const leastMemoryBytes = gib;

export function checkMemory(available: number = process.availableMemory()): CheckResult {
  const found = `${(available / gib).toFixed(1)} GiB available`;
  if (available >= leastMemoryBytes) return { name: 'memory', status: 'ok', found };
  const mend = 'free at least 1 GiB, or raise the container’s limit: TensorFlow alone takes half of that';
  return { name: 'memory', status: 'bad', found, mend };
}

const smallShmBytes = gib;

export function checkSharedMemory(): CheckResult {
  const name = 'shared memory';
  try {
    new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
  } catch (error) {
    const mend = 'run Node without flags that turn off SharedArrayBuffer or WebAssembly threads';
    return { name, status: 'bad', found: `no shared WebAssembly memory: ${String(error)}`, mend };
  }
  const found = 'SharedArrayBuffer and shared WebAssembly memory work';
  const shmBytes = sizeOf('/dev/shm');
  if (shmBytes === undefined) return { name, status: 'ok', found };
  const size = `/dev/shm has ${(shmBytes / gib).toFixed(1)} GiB`;
  if (shmBytes >= smallShmBytes) return { name, status: 'ok', found: `${found}; ${size}` };
  const mend = 'Lockstep does not use it; CUDA libraries may: start the container with --shm-size=1g';
  return { name, status: 'note', found: `${found}; ${size}`, mend };
}

function sizeOf(path: string): number | undefined {
  try {
    const { bsize, blocks } = statfsSync(path);
    return bsize * blocks;
  } catch {
    return undefined;
  }
}

const fewFiles = 1024;

/** Node raises its own limit to the hard one when it starts, so this is the most that it can have. */
export function checkOpenFiles(limits: string = readLimits()): CheckResult {
  const name = 'open files';
  const limit = /^Max open files\s+(\S+)/m.exec(limits)?.[1];
  if (limit === undefined) return { name, status: 'note', found: 'the limit cannot be read' };
  const found = `at most ${limit}`;
  if (limit === 'unlimited' || Number(limit) >= fewFiles) return { name, status: 'ok', found };
  const mend = `raise it to ${fewFiles} or more (ulimit -n, LimitNOFILE=, --ulimit nofile=): each pair of workers takes some`;
  return { name, status: Number(limit) < 256 ? 'bad' : 'note', found, mend };
}

function readLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return '';
  }
}
