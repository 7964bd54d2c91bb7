/** Processes that measure something and say it in JSON. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { z } from 'zod';

/** The checkout. */
export const root = fileURLToPath(new URL('..', import.meta.url));

/** The command as it is built. */
export const lockstepEntry = fileURLToPath(new URL('../dist/bin/lockstep.js', import.meta.url));

/** TensorFlow, PyTorch and BLAS read these. */
export const oneThread = {
  OMP_NUM_THREADS: '1',
  MKL_NUM_THREADS: '1',
  OPENBLAS_NUM_THREADS: '1',
  TF_NUM_INTRAOP_THREADS: '1',
  TF_NUM_INTEROP_THREADS: '1',
  TF_CPP_MIN_LOG_LEVEL: '3',
  CUDA_VISIBLE_DEVICES: '-1',
} as const;

const timeoutMs = 600_000;

/**
 * The JSON lines that a process writes on stdout; other lines are left out.
 *
 * @throws with the end of its stderr, if it fails
 */
export async function jsonLines<T>(schema: z.ZodType<T>, command: string, args: readonly string[]): Promise<T[]> {
  const { stdout } = await execa(command, args, {
    cwd: root,
    env: oneThread,
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => schema.parse(JSON.parse(line)));
}

/** The one JSON line of a TypeScript file of this folder, run in a process of its own. */
export async function jsonOfScript<T>(schema: z.ZodType<T>, script: string, args: readonly string[]): Promise<T> {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const [only] = await jsonLines(schema, process.execPath, ['--import', 'tsx', path, ...args]);
  if (only !== undefined) return only;
  throw new Error(`${script} wrote no JSON line`);
}

/** A TCP port of 127.0.0.1 that was free just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (typeof address === 'object' && address !== null) return address.port;
  throw new Error('a listening TCP server has no port');
}
