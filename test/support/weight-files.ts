/** Weight files as other tools write them, small and by hand. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export interface FileTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype?: string;
  readonly bytes: Uint8Array;
}

/** The bytes of a safetensors file (https://github.com/huggingface/safetensors#format). */
export function safetensors(tensors: readonly FileTensor[]): Buffer {
  let end = 0;
  const entries = tensors.map(({ name, shape, dtype = 'F32', bytes }) => {
    end += bytes.length;
    return [name, { dtype, shape, data_offsets: [end - bytes.length, end] }];
  });
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([prefix, json, ...tensors.map(({ bytes }) => bytes)]);
}

export const float32 = (
  name: string,
  values: readonly number[],
  shape: readonly number[] = [values.length],
): FileTensor => {
  return { name, shape, bytes: new Uint8Array(Float32Array.from(values).buffer) };
};
export const halves = (name: string, dtype: string, bits: readonly number[]): FileTensor => {
  return { name, dtype, shape: [bits.length], bytes: new Uint8Array(Uint16Array.from(bits).buffer) };
};

/** A folder with these files, until the test is over. */
export async function folderWith(files: Readonly<Record<string, string | Uint8Array>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-weights-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  return folder;
}

/** The index of several files. */
export function weightIndex(weight_map: Readonly<Record<string, string>>): string {
  return JSON.stringify({ metadata: {}, weight_map });
}
