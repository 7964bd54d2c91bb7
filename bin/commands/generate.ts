/** `lockstep generate`: lets a language model go on with a text. */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { LockstepError } from '../../src/errors.js';
import type { Job } from '../../src/job/job.js';
import { CheckpointWeights } from '../../worker/checkpoint/checkpoint-weights.js';
import { openTokenizer } from '../../worker/data/tokenizer.js';
import { generatedText } from '../../worker/generation/generated-text.js';
import { LanguageModel } from '../../worker/generation/language-model.js';
import { TokenSampler } from '../../worker/generation/token-sampler.js';
import { makeTrainedModel } from '../../worker/inference/trained-model.js';
import { InitialWeights } from '../../worker/initial-weights.js';
import { gpt2 } from '../../worker/models/gpt2/gpt2.js';
import {
  addComputingOptions,
  findCheckpoint,
  loadEngineFor,
  withAdaptersOf,
  type ComputingOptions,
} from '../checkpointed-job.js';
import { loadJob } from '../job-file.js';
import { textLog } from '../log.js';
import { positiveInteger } from '../options.js';

interface GenerateOptions extends ComputingOptions {
  readonly checkpoint?: string;
  readonly tokenizer?: string;
  readonly prompt: string;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topK?: number;
  readonly seed: number;
}

export function generateCommand(): Command {
  const command = new Command('generate')
    .description('let a language model go on with a text')
    .argument('<source>', 'a job file, or a folder with a GPT-2 as Hugging Face saves it')
    .option('--checkpoint <path>', 'a checkpoint, or the directory of a run: its newest one (default: first weights)')
    .option('--tokenizer <name>', "a folder with a tokenizer.json, or 'bytes' (default: that of the job's text(…))")
    .option('--prompt <text>', 'what the text begins with (default: nothing)', '')
    .option('--max-tokens <n>', 'so many more, unless the text ends', positiveInteger, 100)
    .option('--temperature <t>', 'below 1 likelier tokens, above 1 less likely ones; 0: the likeliest', temperature, 1)
    .option('--top-k <k>', 'only the k likeliest tokens (default: all)', positiveInteger)
    .option('--seed <n>', 'the same text for the same seed', seed, 0);
  return addComputingOptions(command).action(generate);
}

function temperature(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError('Expected a number from 0 on.');
}

function seed(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= 0xffff_ffff) return value;
  throw new InvalidArgumentError('Expected a whole number from 0 to 4294967295.');
}

/** One token: a model of layers may have no shape of its own. */
const column = { data: new Int32Array(1), shape: [1, 1] };
const sample = { x: column, y: column };

async function generate(source: string, options: GenerateOptions): Promise<void> {
  const log = textLog({ level: 'warn' });
  const { checkpoint, prompt } = options;
  const found = checkpoint === undefined ? null : await findCheckpoint(checkpoint, log);
  const { tf } = await loadEngineFor(found, options, log);
  const { job: given, baseDir, tokenizer: named } = await openSource(source, options);
  const job = found ? withAdaptersOf(found, given) : given;
  const tokenizer = await openTokenizer(named, { baseDir });
  const weights = found ? new CheckpointWeights({ path: found.path, merging: null }) : firstWeights(job, baseDir);
  const trained = await makeTrainedModel({ tf, job, baseDir, weights, log, sample });
  using model = new LanguageModel({ tf, model: trained, loss: job.loss });
  const sampler = new TokenSampler(options);
  process.stdout.write(prompt);
  for await (const piece of generatedText({ ...options, model, tokenizer, sampler })) process.stdout.write(piece);
  process.stdout.write('\n');
}

/** Null: the model function makes them. */
function firstWeights({ initialWeights }: TextSource['job'], baseDir: string): InitialWeights | null {
  return initialWeights === undefined ? null : new InitialWeights(initialWeights, baseDir);
}

interface TextSource {
  readonly job: Pick<Job, 'model' | 'loss' | 'seed' | 'initialWeights' | 'lora'>;
  readonly baseDir: string;
  /** Relative to `baseDir`. */
  readonly tokenizer: string;
}

async function openSource(source: string, { tokenizer, set }: GenerateOptions): Promise<TextSource> {
  const named = tokenizer === undefined || tokenizer === 'bytes' ? tokenizer : resolve(tokenizer);
  if (await isFolder(source)) {
    const job = { model: gpt2('.'), loss: 'sparseCategoricalCrossentropyFromLogits', seed: 0 };
    return { job, baseDir: resolve(source), tokenizer: named ?? '.' };
  }
  const { job, baseDir } = await loadJob(source, set);
  return { job, baseDir, tokenizer: named ?? tokenizerOf(job) };
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
}

function tokenizerOf({ data }: Job): string {
  const { train } = data;
  if ('tokenizer' in train && typeof train.tokenizer === 'string') return train.tokenizer;
  const message =
    "The job's training data is no text(…), so nothing says what its tokens are. Name a folder with their tokenizer.json, or 'bytes', with --tokenizer.";
  throw new LockstepError('ERR_USAGE', message);
}
