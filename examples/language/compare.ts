/**
 * What training on other text first is worth: bits per byte of held-out verse, by a model that has read prose only, one that has
 * read verse only, and two that have read prose and then verse, with all numbers trained or by LoRA. Then, some verse of its own.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

const command = fileURLToPath(new URL('bin/lockstep.js', import.meta.resolve('lockstep')));
const here = new URL('.', import.meta.url);
/** Of `lockstep train`, for each of the four: --workers, --steps, --set. */
const options = process.argv.slice(2);

interface Summary {
  readonly checkpoint: string;
}
interface Evaluation {
  readonly loss: number;
}

async function lockstep(args: readonly string[], stdout: 'inherit' | 'pipe' = 'inherit'): Promise<string> {
  console.log(`\n$ lockstep ${args.map((arg) => (/\s/.test(arg) ? JSON.stringify(arg) : arg)).join(' ')}`);
  const ended = await execa(process.execPath, [command, ...args], { stdout, stderr: 'inherit' });
  return ended.stdout ?? '';
}

function jobFile(name: string): string {
  return fileURLToPath(new URL(`${name}.ts`, here));
}

/** Returns the last checkpoint's path. */
async function train(job: string, run: string, ...more: readonly string[]): Promise<string> {
  const summary = join(folder, `${run}.json`);
  await lockstep(['train', jobFile(job), '--run-dir', join(folder, run), '--summary', summary, ...options, ...more]);
  return (JSON.parse(await readFile(summary, 'utf8')) as Summary).checkpoint; // docs/run-files.md
}

async function bitsPerByte(job: string, checkpoint: string): Promise<number> {
  const said = await lockstep(['evaluate', jobFile(job), '--checkpoint', checkpoint, '--json'], 'pipe');
  return (JSON.parse(said) as Evaluation).loss / Math.LN2; // docs/operations.md
}

const folder = await mkdtemp(join(tmpdir(), 'lockstep-language-'));
try {
  const prose = await train('narrative', 'narrative');
  const anew = await train('poetry', 'poetry-alone');
  const fineTuned = await train('poetry', 'poetry', '--set', `initialWeights=${prose}`);
  const adapted = await train('poetry-lora', 'poetry-lora', '--set', `initialWeights=${prose}`);
  const rows = {
    'prose alone': await bitsPerByte('poetry', prose),
    'verse alone': await bitsPerByte('poetry', anew),
    'prose, then verse': await bitsPerByte('poetry', fineTuned),
    'prose, then verse by LoRA': await bitsPerByte('poetry-lora', adapted),
  };
  console.log();
  const sample = ['--prompt', 'The LORD ', '--max-tokens', '300', '--temperature', '0.6'];
  await lockstep(['generate', jobFile('poetry'), '--checkpoint', fineTuned, ...sample]);
  console.log('\nbits per byte of verse that is held out');
  for (const [what, bits] of Object.entries(rows)) console.log(`  ${what.padEnd(28)}${bits.toFixed(3)}`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
