/** The GPUs of this machine. */
import { execa } from 'execa';

/** A driver that hangs does not answer. */
const listingTimeoutMs = 20_000;

/** As CUDA_VISIBLE_DEVICES names them; what it is set to already limits them. */
export async function listGpus(): Promise<string[]> {
  const visible = process.env['CUDA_VISIBLE_DEVICES'];
  if (visible !== undefined) return visible.split(',').filter((id) => id !== '' && id !== '-1');
  const query = ['--query-gpu=index', '--format=csv,noheader'];
  const listed = await execa('nvidia-smi', query, { reject: false, timeout: listingTimeoutMs });
  return listed.failed ? [] : listed.stdout.split('\n').flatMap((line) => line.trim() || []);
}
