/**
 * Runs this very command as a child of this process, and again when it was killed: what stands in for systemd, or for a
 * person, where `--chaos` kills the coordinator.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Says to the command that somebody starts it again. */
const supervisedBy = 'LOCKSTEP_SUPERVISED_BY';

export function isSupervised(): boolean {
  return process.env[supervisedBy] === String(process.ppid);
}

/**
 * Ends as the command ends.
 *
 * @param numStarts at most: the first, and one for each time that it is to be killed
 */
export async function supervise(numStarts: number): Promise<never> {
  for (let left = numStarts; ; left--) {
    const { code, signal } = await runOnce();
    if (signal === 'SIGKILL' && left > 1) {
      process.stderr.write('The coordinator was killed; it is started again.\n');
      continue;
    }
    if (signal !== null) process.kill(process.pid, signal);
    process.exit(code ?? 1);
  }
}

async function runOnce(): Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }> {
  const env = { ...process.env, [supervisedBy]: String(process.pid) };
  const args = [...process.execArgv, ...process.argv.slice(1)];
  // A process group of its own: a Ctrl-C reaches it through this process, and once.
  const child = spawn(process.execPath, args, { stdio: 'inherit', detached: true, env });
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  process.on('SIGINT', pass).on('SIGTERM', pass);
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]; // as Node documents it
  process.off('SIGINT', pass).off('SIGTERM', pass);
  return { code, signal };
}
