/** The engine as a worker has it: loaded by the built code, since job files import that. */
import type * as Load from '../worker/compute/engine/load.js';

/** @param plain kernels and gradients are those of tfjs-node as it comes */
export async function loadBuiltEngine({ plain = false } = {}): Promise<Load.Engine> {
  const built = new URL('../dist/worker/compute/engine/load.js', import.meta.url);
  const { loadEngine } = (await import(built.href)) as typeof Load; // built from that very file
  const complain = (line: string): void => console.error(line);
  return loadEngine({
    threads: 1,
    device: 'cpu',
    plain,
    log: { debug: () => undefined, info: () => undefined, warn: complain, error: complain },
  });
}
