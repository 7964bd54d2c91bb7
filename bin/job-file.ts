/** Loads a job file, JavaScript or TypeScript, and takes the digest of its code and all that it imports from beside it. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { register } from 'node:module';
import { dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, type Message } from 'esbuild';
import { register as registerTsx } from 'tsx/esm/api';
import { LockstepError } from '../src/errors.js';
import { parseJob, requireOwnJob } from '../src/job/job.js';
import type { LoadedJob } from '../src/job/loaded-job.js';
import { applyOverrides } from '../src/job/overrides.js';
import { plainJob } from '../src/job/plain-job.js';

/**
 * @param path relative to the working directory
 * @param overrides "key=value", applied before the job is validated
 * @throws LockstepError ERR_JOB_NOT_FOUND, ERR_JOB_LOAD, ERR_JOB_INVALID, ERR_OVERRIDE_INVALID
 */
export async function loadJob(path: string, overrides: readonly string[]): Promise<LoadedJob> {
  const file = resolve(path);
  if (!existsSync(file)) {
    throw new LockstepError('ERR_JOB_NOT_FOUND', `There is no job file ${file}. Give the path of a .ts or .js file.`);
  }
  const code = await digest(file);
  const definition = await importDefault(file);
  requireOwnJob(definition);
  const job = parseJob(applyOverrides(definition, overrides));
  const fields = Object.entries(plainJob(job)).map(([key, value]) => [`job ${key}`, JSON.stringify(value)] as const);
  return {
    job,
    path: file,
    baseDir: dirname(file),
    facts: { ...Object.fromEntries(fields), 'digest of the job file': code },
  };
}

/** Packages are left out: their versions are not part of the job's own code. */
async function digest(file: string): Promise<string> {
  try {
    const { outputFiles } = await build({
      entryPoints: [file],
      bundle: true,
      packages: 'external',
      platform: 'node',
      format: 'esm',
      write: false,
      logLevel: 'silent',
      // Comments in the bundle name files relative to the working directory, which is not the same everywhere.
      minifyWhitespace: true,
      absWorkingDir: dirname(file),
    });
    return createHash('sha256')
      .update(outputFiles[0]?.contents ?? '')
      .digest('hex');
  } catch (cause) {
    throw new LockstepError('ERR_JOB_LOAD', `The job file ${file} cannot be read as a module: ${firstProblem(cause)}`, {
      cause,
    });
  }
}

function firstProblem(cause: unknown): string {
  const errors = (cause as { readonly errors?: readonly Message[] }).errors; // esbuild's BuildFailure
  const [first] = errors ?? [];
  if (!first) return cause instanceof Error ? cause.message : String(cause);
  const { text, location } = first;
  return location ? `${text} (${location.file}:${location.line}:${location.column + 1})` : text;
}

let typescriptIsRegistered = false;

async function importDefault(file: string): Promise<unknown> {
  if (!typescriptIsRegistered && /\.[cm]?tsx?$/.test(file)) {
    registerTsx();
    register('./module-hooks.js', import.meta.url); // asked before tsx, since it comes later
    typescriptIsRegistered = true;
  }
  let module: { readonly default?: unknown };
  try {
    module = (await import(pathToFileURL(file).href)) as typeof module; // any module has an optional default
  } catch (cause) {
    if (cause instanceof LockstepError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new LockstepError('ERR_JOB_LOAD', `The job file ${file} threw while it was loaded: ${why}`, { cause });
  }
  if (module.default !== undefined) return unwrap(module.default);
  throw new LockstepError(
    'ERR_JOB_LOAD',
    `The job file ${file} has no default export. Write: export default defineJob({ … })`,
  );
}

/** A CommonJS file compiled from `export default` has its default one level down. */
function unwrap(value: unknown): unknown {
  const nested = typeof value === 'object' && value !== null && '__esModule' in value && 'default' in value;
  return nested ? value.default : value;
}
