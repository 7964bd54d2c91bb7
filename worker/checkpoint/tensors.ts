/** Which tensors a checkpoint of this memory has, in the order of the file: for the writer and the reader alike. */
import type { OptimizerConfig } from '../../src/optimizer/config.js';
import { momentRegions } from '../../src/optimizer/optimizer.js';
import { momentName } from '../../src/state/checkpoint.js';
import { bytesOf } from '../../src/state/digest.js';
import { type FlatMemory, PARAMETERS } from '../../src/state/memory.js';

/** A tensor of the flat state. */
export interface StateTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Its place in shared memory. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
}

/** The parameters by their own names: trainable ones, then state. */
export function parameterTensors(memory: FlatMemory): StateTensor[] {
  return memory.layout.parameters.map((parameter) => ({
    name: parameter.name,
    shape: parameter.shape,
    bytes: bytesOf(memory.parameterView(PARAMETERS, parameter)),
  }));
}

/** The moments of the trainable parameters, one moment after the other. */
export function momentTensors(memory: FlatMemory, optimizer: OptimizerConfig): StateTensor[] {
  const trainable = memory.layout.parameters.filter((parameter) => parameter.trainable);
  return momentRegions(optimizer).flatMap((region) =>
    trainable.map((parameter) => ({
      name: momentName(region, parameter.name),
      shape: parameter.shape,
      bytes: bytesOf(memory.parameterView(region, parameter)),
    })),
  );
}
