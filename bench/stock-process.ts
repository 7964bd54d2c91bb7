/**
 * Training as tfjs has it: `model.fit` with `tf.train.adam` on the engine that Lockstep links, with a job's model, loss,
 * batch size and rows. Arguments: the job file, and for how many seconds. One JSON line.
 */
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { LayersModel } from '@tensorflow/tfjs';
import type { Column, JobDefinition } from 'lockstep';
import { loadBuiltEngine } from './engine.js';
import type { Rows } from './jobs/repeated.js';

interface JobModule {
  readonly default: JobDefinition;
  readonly rows: Rows;
}

const [path = '', seconds = ''] = process.argv.slice(2);
const { tf } = await loadBuiltEngine({ plain: true });
const { default: job, rows } = (await import(pathToFileURL(path).href)) as JobModule; // a file of bench/jobs
const { loss, batchSize } = job;
if (typeof loss !== 'string') throw new Error(`${path}: tfjs takes the loss by its name`);
const model = (await job.model({ baseDir: dirname(path) })) as LayersModel;
model.compile({ optimizer: tf.train.adam(), loss });

const tensor = ({ data, shape }: Column) => tf.tensor(data, [...shape], 'float32');
const [x, y] = [tensor(rows.x), tensor(rows.y)];
// eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- tfjs does not export the enum
const fit = async (): Promise<unknown> => model.fit(x, y, { batchSize, epochs: 1, shuffle: true, verbose: 0 });

await fit(); // kernels, shapes and JavaScript are warm after it
const startedMs = performance.now();
const elapsed = (): number => (performance.now() - startedMs) / 1000;
let epochs = 0;
do {
  await fit();
  epochs++;
} while (elapsed() < Number(seconds));
console.log(JSON.stringify({ samplesPerSecond: (epochs * (rows.x.shape[0] ?? 0)) / elapsed() }));
