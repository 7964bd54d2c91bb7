/**
 * The one error class of Lockstep, and the union of its codes. A message says what was found, what was expected and what
 * to do next; `details` carries the same as data. The code decides the exit code of the command.
 */

/** Every code, with the exit code of a command that ends with it. Listed for people in docs/errors.md. */
export const errorExitCodes = {
  // 2: the command or the job file is wrong
  ERR_USAGE: 2,
  ERR_JOB_NOT_FOUND: 2,
  ERR_JOB_LOAD: 2,
  ERR_JOB_INVALID: 2,
  ERR_OVERRIDE_INVALID: 2,
  ERR_RUN_DIR: 2,
  ERR_DATA_NOT_FOUND: 2,
  ERR_DATA_INVALID: 2,
  ERR_LABEL_OUT_OF_RANGE: 2,
  ERR_MODEL_INVALID: 2,
  ERR_LISTEN_NOT_ALLOWED: 2,
  ERR_ADDRESS_IN_USE: 2,
  ERR_TOKEN_INVALID: 2,
  ERR_RESUME_MISMATCH: 2,
  // 3: this machine lacks something
  ERR_ENGINE_MISSING: 3,
  ERR_ENGINE_INSTALL: 3,
  ERR_DEVICE_MISSING: 3,
  ERR_MACHINE: 3,
  ERR_MEMORY: 3,
  ERR_DISK_FULL: 3,
  // 1: the run failed
  ERR_INTERRUPTED: 1,
  ERR_WORKER_LOST: 1,
  ERR_WORKER_FAILED: 1,
  ERR_WORKER_MISMATCH: 1,
  ERR_STEP_FAILED: 1,
  ERR_NOT_FINITE: 1,
  ERR_STATE_DIVERGED: 1,
  ERR_CHECKPOINT_INVALID: 1,
  ERR_CHECKPOINT_WRITE: 1,
  ERR_EXPORT_WRITE: 1,
  ERR_COORDINATOR_LOST: 1,
  ERR_COORDINATOR_REPLACED: 1,
  ERR_CONNECT: 1,
  ERR_AUTHENTICATION: 1,
  ERR_PROTOCOL: 1,
  ERR_FRAME_CORRUPT: 1,
  ERR_TIMEOUT: 1,
  ERR_INTERNAL: 1,
} as const satisfies Record<string, 1 | 2 | 3>;

export type ErrorCode = keyof typeof errorExitCodes;

export type ErrorDetails = Readonly<Record<string, unknown>>;

export interface LockstepErrorOptions {
  readonly cause?: unknown;
  /** The facts of the message as data: found, expected, workerId, step, file, row, … */
  readonly details?: ErrorDetails;
}

/** What went wrong, in words for a person and with a code for a program. */
export class LockstepError extends Error {
  override readonly name = 'LockstepError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, options: LockstepErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }

  get exitCode(): 1 | 2 | 3 {
    return errorExitCodes[this.code];
  }
}

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorExitCodes, code);
}

/** Any thrown value as a LockstepError; one that is not ours becomes `code`, with the original as its cause. */
export function toLockstepError(thrown: unknown, code: ErrorCode = 'ERR_INTERNAL'): LockstepError {
  if (thrown instanceof LockstepError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new LockstepError(code, message, { cause: thrown });
}

/** An invariant of Lockstep's own. A failure is a bug here, never a mistake of the user. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new LockstepError('ERR_INTERNAL', `${message}. This is a bug in Lockstep; please report it.`);
}
