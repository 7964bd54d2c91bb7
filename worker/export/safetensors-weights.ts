/** The weights of a checkpoint as a plain safetensors file, which PyTorch and others read. Names stay: a GPT-2's are Hugging Face's. */
import type { Log } from '../../src/log.js';
import { MOMENT_PREFIX } from '../../src/state/layout.js';
import { encodeHeader } from '../../src/state/safetensors.js';
import { WeightFiles } from '../checkpoint/weight-files.js';
import { asBytes, writeFileWhole } from './exported-file.js';

/** Hugging Face's library asks which framework the tensors are for. */
const metadata = { format: 'pt' };

export async function exportSafetensors(checkpoint: string, path: string, log: Log): Promise<void> {
  await using files = await WeightFiles.open(checkpoint);
  const weights = files.tensors.filter(({ name }) => !name.startsWith(MOMENT_PREFIX));
  await writeFileWhole(path, pieces(), log);

  async function* pieces(): AsyncGenerator<Uint8Array> {
    yield encodeHeader(weights, metadata);
    for (const weight of weights) yield asBytes(await files.read(weight));
  }
}
