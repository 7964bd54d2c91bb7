/** The tensors alive in this process, told without loading tfjs: its engine is one object on `globalThis`. */

/** What of tfjs-core's `Engine` is read here. `memory()` is not: it starts a backend where there is none. */
interface EngineGlobal {
  readonly _tfengine?: { readonly state: { readonly numTensors: number } };
}

/** 0 where tfjs was not loaded. */
export function numLiveTensors(): number {
  return (globalThis as EngineGlobal)._tfengine?.state.numTensors ?? 0;
}
