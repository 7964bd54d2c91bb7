/**
 * The `tf` that job files import. It is tfjs itself, but loaded when a property of it is first used: the coordinator reads
 * job files too, and never computes.
 */
import { requireTfjs, type Tfjs } from './engine/tfjs.js';

/** tfjs, on the engine that this process loaded. */
export const tf: Tfjs = new Proxy(Object.create(null) as Tfjs, {
  // An empty object stands for the module: each trap below answers from the real one.
  get: (_, property) => Reflect.get(requireTfjs(), property) as unknown,
  has: (_, property) => Reflect.has(requireTfjs(), property),
  ownKeys: () => Reflect.ownKeys(requireTfjs()),
  getOwnPropertyDescriptor: (_, property) => {
    const descriptor = Reflect.getOwnPropertyDescriptor(requireTfjs(), property);
    // A proxy may not report a property as fixed that its own (empty) target lacks.
    return descriptor === undefined ? undefined : { ...descriptor, configurable: true };
  },
});
