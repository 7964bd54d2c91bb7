/** The weights of a checkpoint as a plain safetensors file, which PyTorch and others read. Names stay: a GPT-2's are Hugging Face's. */
import type { Log } from '../../src/log.js';
import { encodeHeader } from '../../src/state/safetensors.js';
import { weightsIn, type CheckpointSource } from '../checkpoint/checkpoint-weights.js';
import { WeightFiles } from '../checkpoint/weight-files.js';
import { asBytes, writeFileWhole } from './exported-file.js';

/** Hugging Face's library asks which framework the tensors are for. */
const metadata = { format: 'pt' };

export async function exportSafetensors({ path, merging }: CheckpointSource, out: string, log: Log): Promise<void> {
  await using files = await WeightFiles.open(path);
  const weights = weightsIn(files, merging);
  await writeFileWhole(out, pieces(), log);

  async function* pieces(): AsyncGenerator<Uint8Array> {
    yield encodeHeader(weights, metadata);
    for (const weight of weights) yield asBytes(await weight.read());
  }
}
