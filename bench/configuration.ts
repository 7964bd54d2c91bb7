/** All that a figure depends on besides the code that made it. */
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { execa } from 'execa';
import { z } from 'zod';
import { lockstepVersion } from '../src/version.js';
import { lockstepEntry, root } from './child.js';

export const configurationSchema = z.object({
  cpu: z.string(),
  cores: z.number(),
  memoryBytes: z.number(),
  kernel: z.string(),
  /** Of the machine's image; null where it does not say. */
  system: z.string().nullable(),
  node: z.string(),
  lockstep: z.string(),
  /** "…-dirty" where files were changed since. */
  commit: z.string(),
  /** What `lockstep engine status` says. */
  engine: z.string(),
  /** Versions of what was measured beside us: of torch and tensorflow. */
  peers: z.record(z.string(), z.string()),
  /** Load of the machine before the first measurement: the mean of a minute (proc(5)). */
  load: z.number(),
  rounds: z.number(),
  seconds: z.number(),
});

export type Configuration = z.output<typeof configurationSchema>;

/** Before anything is measured; what the peers are, they tell when they have been measured. */
export async function findMachine(): Promise<Omit<Configuration, 'peers' | 'rounds' | 'seconds'>> {
  const [load = ''] = readFileSync('/proc/loadavg', 'utf8').split(' ');
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    kernel: release(),
    system: systemName(),
    node: process.versions.node,
    lockstep: lockstepVersion,
    commit: await output('git', ['describe', '--always', '--dirty', '--exclude=*', '--abbrev=12']),
    engine: await output(process.execPath, [lockstepEntry, 'engine', 'status']),
    load: Number(load),
  };
}

/** The first line. */
async function output(command: string, args: readonly string[]): Promise<string> {
  const { failed, stdout } = await execa(command, args, { cwd: root, reject: false });
  return failed ? 'unknown' : (stdout.split('\n')[0] ?? 'unknown');
}

/** As os-release(5) has it. */
function systemName(): string | null {
  const path = '/etc/os-release';
  if (!existsSync(path)) return null;
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(readFileSync(path, 'utf8'))?.[1] ?? null;
}
