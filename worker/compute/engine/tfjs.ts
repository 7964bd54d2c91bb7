/** Lockstep's one copy of tfjs: the user's `tf`, the engine's and tfjs-node's are this module instance. */
import { createRequire } from 'node:module';

export type Tfjs = typeof import('@tensorflow/tfjs');

/** Loads tfjs on the first call (some 0.3 s); later calls cost nothing. */
export function requireTfjs(): Tfjs {
  // `require` returns any; the package's own types say what it is.
  return createRequire(import.meta.url)('@tensorflow/tfjs') as Tfjs;
}
