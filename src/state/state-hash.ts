/** A quick hash of a worker's state, by which workers find out that one of them has another. */
import { ChecksumStream } from '../kernels/checksum-stream.js';
import { momentRegions, sharedRegions } from '../optimizer/optimizer.js';
import type { OptimizerConfig } from '../optimizer/config.js';
import { bytesOf } from './digest.js';
import { type FlatMemory, PARAMETERS } from './memory.js';

/** "parameters 0a1b2c3d, moment1 …": without the moments where each worker has others. */
export function stateHash(memory: FlatMemory, optimizer: OptimizerConfig): string {
  const stream = new ChecksumStream();
  const others = new Set(optimizer.sharded ? sharedRegions(optimizer) : []);
  const moments = momentRegions(optimizer).filter((region) => !others.has(region));
  const hashes = [PARAMETERS, ...moments].map((region) => {
    for (const parameter of memory.layout.parameters) {
      if (region !== PARAMETERS && !parameter.trainable) continue;
      stream.update(bytesOf(memory.parameterView(region, parameter)));
    }
    return `${region} ${stream.take()}`;
  });
  return hashes.join(', ');
}
