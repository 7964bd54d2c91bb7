/**
 * Some compiled steps of a GPT-2 of so many blocks, small and on long rows, so that what is computed is most of its memory.
 * Arguments: the number of blocks, and `kept` or `recomputed`. One JSON line.
 */
import { gpt2 } from 'lockstep';
import type * as CompiledSteps from '../worker/compute/compiled/compiled-step.js';
import type * as EagerSteps from '../worker/compute/step.js';
import { loadBuiltEngine } from './engine.js';
import { randomClasses } from './jobs/random.js';
import { MemoryWatch } from './peak-memory.js';

const built = (path: string): string => new URL(`../dist/${path}`, import.meta.url).href;
const { CompiledStep } = (await import(built('worker/compute/compiled/compiled-step.js'))) as typeof CompiledSteps; // built from it
const { TrainingStep } = (await import(built('worker/compute/step.js'))) as typeof EagerSteps; // likewise

const [numBlocks = '', how = ''] = process.argv.slice(2);
const [numRows, numTokens, numKinds] = [4, 256, 256];
const { tf, native } = await loadBuiltEngine();
const log = { debug: ignore, info: ignore, warn: (line: string) => console.error(line), error: ignore };
function ignore(): void {
  // Only what keeps it from being compiled is of interest.
}

const column = { data: Int32Array.from(randomClasses(numRows * numTokens, numKinds, 1)), shape: [numRows, numTokens] };
const batch = { x: column, y: column };
const shape = { vocab_size: numKinds, n_positions: numTokens, n_embd: 128, n_layer: Number(numBlocks), n_head: 4 };
const job = {
  model: gpt2(shape, { recompute: how === 'recomputed' }),
  loss: 'sparseCategoricalCrossentropyFromLogits',
  metrics: [],
};
const eager = await TrainingStep.build({ tf, job, seed: 0, log, sample: batch });
const step = new CompiledStep({ tf, step: eager, log, addon: native?.addon });
const sizes = step.parameters.map((parameter) => parameter.shape.reduce((size, extent) => size * extent, 1));
const outputs = { gradients: sizes.map((size) => new Float32Array(size)), state: [] };

const startedMs = performance.now();
const numSteps = 5;
step.prepare(batch, { seed: 0, step: 0, slot: 0 });
const preparedMs = performance.now();
for (let number = 0; number < numSteps; number++) step.gradient(batch, { seed: 0, step: number, slot: 0 }, outputs);
const memory = new MemoryWatch();
await memory.look(process.pid);
console.log(
  JSON.stringify({
    peakBytes: memory.peaks[0]?.residentBytes,
    prepareMs: preparedMs - startedMs,
    stepMs: (performance.now() - preparedMs) / numSteps,
  }),
);
