/** Rows that the model makes as it goes: what is said of them outside of their run. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobFolder } from '../support/job-folder.js';
import { errorLines, lockstep, lockstepDone } from '../support/lockstep-command.js';
import { readSummary } from '../support/run-files.js';

let folder: JobFolder;
let job: string;
beforeAll(async () => {
  folder = await JobFolder.make();
  job = await folder.write(
    'job.ts',
    `import { defineJob, rollouts, sgd, tf } from 'lockstep';
const rows = rollouts({
  rowsPerEpoch: 24,
  x: [3],
  y: [1],
  collect: ({ numRows, random, predict }) => {
    const x = { data: Float32Array.from({ length: 3 * numRows }, () => random()), shape: [numRows, 3] };
    const said = predict(x).data;
    return { x, y: { data: Float32Array.from(said, (value) => value / 2 + random()), shape: [numRows, 1] } };
  },
});
export default defineJob({
  name: 'rolled',
  model: () => tf.sequential({ layers: [tf.layers.dense({ units: 1, inputShape: [3] })] }),
  loss: 'meanSquaredError',
  data: { train: rows, validation: rows },
  optimizer: sgd({ learningRate: 0.05 }),
  batchSize: 8,
  epochs: 2,
  slots: 2,
  threads: 1,
});`,
  );
});
afterAll(() => folder[Symbol.asyncDispose]());

test('a checkpoint is evaluated on the rows of its last validation; there are none to predict for', async () => {
  const summary = folder.at('summary.json');
  await lockstepDone(['train', job, '--run-dir', folder.at('run'), '--summary', summary]);
  const { stdout } = await lockstepDone(['evaluate', job, '--checkpoint', folder.at('run'), '--json']);
  expect(JSON.parse(stdout.join(''))).toMatchObject({ step: 6, loss: readSummary(summary).metrics.val_loss });

  const predicted = await lockstep(['predict', job, '--checkpoint', folder.at('run')]);
  expect(errorLines(predicted)).toEqual([expect.stringMatching(/validation data .*--input FILE\. \[ERR_USAGE\]$/)]);
  expect(predicted).toMatchObject({ exitCode: 2, stdout: [] });
});
