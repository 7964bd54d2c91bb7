/** One run of a soak in real processes, with what it printed in a file, and with nothing left of it when it has ended. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { lockstepEntry, root } from '../../bench/child.js';
import { formatFault } from '../../src/chaos/faults.js';
import type { RunSummary } from '../../src/run-summary.js';
import type { Round } from './plan.js';

/** Processes inherit it, and theirs from them. */
const marker = 'LOCKSTEP_SOAK_RUN';
/** After the command has ended, for processes that it has told to. */
const graceMs = 5_000;
const pollMs = 100;

export interface RunEnd {
  /** Null: it has left none. */
  readonly summary: RunSummary | null;
  /** Why this is no good end; null: it is one. */
  readonly failure: string | null;
  /** Processes that were there still, and were killed. */
  readonly leftOver: readonly string[];
}

/** As a person would type it. */
export function argsOf({ job, set, workers, steps, faults }: Round): string[] {
  const fields = Object.entries(set).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const words = faults.length === 0 ? [] : ['--chaos', faults.map(formatFault).join(',')];
  return ['train', job, '--workers', `${workers}`, '--steps', `${steps}`, ...fields, ...words];
}

/** @param folder of this run alone: gets `run`, `summary.json` and `log` */
export async function runRound(
  round: Round,
  { folder, timeoutMs, signal }: { readonly folder: string; readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<RunEnd> {
  mkdirSync(folder, { recursive: true });
  const id = randomUUID();
  const log = openSync(join(folder, 'log'), 'w');
  const files = ['--run-dir', join(folder, 'run'), '--summary', join(folder, 'summary.json')];
  const child = spawn(process.execPath, [lockstepEntry, ...argsOf(round), ...files, '--max-replacements', '1000'], {
    cwd: root,
    // A group of its own: a Ctrl-C is this process's to pass on.
    detached: true,
    env: { ...process.env, CUDA_VISIBLE_DEVICES: '', [marker]: id },
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const end = (): void => {
    child.kill('SIGINT');
    child.kill('SIGTERM'); // the second signal ends it at once
  };
  const timer = setTimeout(end, timeoutMs);
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  const startedMs = performance.now();
  const [exitCode] = (await once(child, 'exit')) as [number | null]; // as Node documents it
  const tookMs = performance.now() - startedMs;
  clearTimeout(timer);
  signal.removeEventListener('abort', end);
  const leftOver = await endAll(id);
  const summary = readSummary(join(folder, 'summary.json'));
  const late = tookMs >= timeoutMs ? `it has not ended within ${timeoutMs} ms` : null;
  const bad = exitCode === 0 ? null : `exit code ${String(exitCode)}: ${summary?.error?.message ?? 'no summary'}`;
  return { summary, failure: late ?? bad, leftOver };
}

/** Kills what is there still after a while, and tells what that was. */
async function endAll(id: string): Promise<string[]> {
  const deadlineMs = performance.now() + graceMs;
  while (processesOf(id).length > 0 && performance.now() < deadlineMs) await delay(pollMs);
  return processesOf(id).map(({ pid, command }) => {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended by itself meanwhile.
    }
    return command;
  });
}

/** Linux tells what environment a process was started with. */
function processesOf(id: string): { readonly pid: number; readonly command: string }[] {
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger);
  return pids
    .filter((pid) => read(pid, 'environ').includes(`${marker}=${id}`))
    .map((pid) => ({ pid, command: read(pid, 'cmdline').join(' ') }));
}

function read(pid: number, file: 'environ' | 'cmdline'): string[] {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8').split('\0').filter(Boolean);
  } catch {
    return []; // it has ended
  }
}

function readSummary(path: string): RunSummary | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as RunSummary; // written by the command of this checkout
  } catch {
    return null;
  }
}
