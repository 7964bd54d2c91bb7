/** What a worker finds out about its model, in words that a mismatch can be told with. */
import { createHash } from 'node:crypto';
import type { Facts } from '../src/protocol/facts.js';
import type { ParameterSpec } from '../src/state/parameter.js';

export function modelFacts(parameters: readonly ParameterSpec[]): Facts {
  return Object.fromEntries(
    parameters.map(({ name, shape, trainable }, index) => [
      `parameter ${index}`,
      `${name} [${shape.join(', ')}]${trainable ? '' : ' not trainable'}`,
    ]),
  );
}

export function weightsFact(values: readonly Float32Array[]): string {
  const hash = createHash('sha256');
  for (const { buffer, byteOffset, byteLength } of values) hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  return hash.digest('hex');
}
