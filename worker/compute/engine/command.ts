/** Runs the tools that an installation needs (npm, tar, python3, the compiler), and turns their failures into words. */
import { execa } from 'execa';
import { LockstepError } from '../../../src/errors.js';

export interface RunOptions {
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** @default 15 minutes: the GPU build of TensorFlow is some gigabytes */
  readonly timeoutMs?: number;
}

/** Runs a command to its end and resolves to what it wrote to stdout; rejects with a reason in one line. */
export type Run = (command: string, args: readonly string[], options?: RunOptions) => Promise<string>;

const defaultTimeoutMs = 15 * 60_000;
const reasonCharacters = 400;

/** @throws LockstepError ERR_ENGINE_INSTALL, with the end of what the command said */
export const run: Run = async (command, args, { cwd, env, timeoutMs = defaultTimeoutMs } = {}) => {
  const result = await execa(command, args, {
    reject: false,
    stdin: 'ignore',
    timeout: timeoutMs,
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
  });
  if (!result.failed) return result.stdout;
  throw new LockstepError('ERR_ENGINE_INSTALL', failureReason(command, timeoutMs, result), {
    cause: result,
    details: { command, args },
  });
};

interface Failure {
  readonly code?: string | undefined;
  readonly timedOut: boolean;
  readonly signal?: string | undefined;
  readonly exitCode?: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

function failureReason(command: string, timeoutMs: number, failure: Failure): string {
  if (failure.code === 'ENOENT') return `${command} is not installed`;
  if (failure.timedOut) return `${command} did not end within ${String(timeoutMs / 1000)} s`;
  const how = failure.signal === undefined ? `exit code ${String(failure.exitCode)}` : `signal ${failure.signal}`;
  const said = lastWords(failure.stderr) || lastWords(failure.stdout) || 'it said nothing';
  return `${command} failed with ${how}: ${said}`;
}

/** The lines that name an error, else the last ones, in one line. */
function lastWords(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  const errors = lines.filter((line) => /\berror\b/i.test(line));
  const telling = errors.length > 0 ? errors.slice(0, 3) : lines.slice(-3);
  return telling
    .map((line) => line.trim())
    .join('; ')
    .slice(0, reasonCharacters);
}
