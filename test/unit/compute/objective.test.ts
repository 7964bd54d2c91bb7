import type { SymbolicTensor, Tensor } from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { lossNames, metricNames, Objective, type ObjectiveJob } from '../../../worker/compute/objective.js';
import { given, spread, tf } from './toy.js';

const rows = 6;
const numOutputs = 3;

/** Rows of probabilities. The first two are certain, one of them rightly: "precision" counts only outputs of exactly 1. */
function probabilities(): Tensor {
  const certain = tf.tensor2d([1, 0, 0, 1, 0, 0], [2, numOutputs]);
  return tf.concat([certain, tf.softmax(tf.tensor2d(spread((rows - 2) * numOutputs), [rows - 2, numOutputs]))]);
}

function oneHot(): Tensor {
  return tf.oneHot(tf.tensor1d([0, 1, 2, 2, 1, 0], 'int32'), numOutputs).cast('float32');
}

function classes(): Tensor {
  return tf.tensor2d([0, 1, 2, 2, 1, 1], [rows, 1]);
}

function resolve(job: Partial<ObjectiveJob>, labels: Tensor, output: Tensor): Objective {
  return Objective.resolve({
    tf,
    job: { loss: 'meanSquaredError', metrics: [], ...job },
    outputShape: output.shape,
    labelShape: labels.shape,
  });
}

function measure(job: Partial<ObjectiveJob>, labels: Tensor, output: Tensor): number[] {
  const objective = resolve(job, labels, output);
  return [objective.loss(labels, output), ...objective.metrics(labels, output)].map((scalar) =>
    given(scalar.dataSync()[0]),
  );
}

/** What tfjs itself says of these labels and outputs: the evaluation of a model that returns its input. */
function tfjsMeasure(loss: string, metrics: string[], labels: Tensor, output: Tensor): number[] {
  const inputShape = output.shape.slice(1);
  const model = tf.sequential({ layers: [tf.layers.activation({ activation: 'linear', inputShape })] });
  model.compile({ optimizer: 'sgd', loss, metrics });
  const scalars = [model.evaluate(output, labels)].flat();
  const values = scalars.map((scalar) => given(scalar.dataSync()[0]));
  model.dispose();
  return values;
}

/** tfjs weights the mean of a batch with its rows and divides again: the last bit may differ. */
function expectSame(found: number[], expected: number[]): void {
  expect(found).toHaveLength(expected.length);
  found.forEach((value, index) => {
    expect(value).not.toBe(0);
    expect(Math.abs(value / given(expected[index]) - 1)).toBeLessThan(1e-6);
  });
}

/** Runs a test of tensors and disposes them all. */
function tidily(body: () => void): () => void {
  return () => {
    tf.tidy(() => {
      body();
    });
  };
}

describe('a loss by name', () => {
  it.each(lossNames)('%s has the value that tfjs gives it', (loss) => {
    tidily(() => {
      const labels = loss === 'sparseCategoricalCrossentropy' ? classes() : oneHot();
      expectSame(measure({ loss }, labels, probabilities()), tfjsMeasure(loss, [], labels, probabilities()));
    })();
  });

  it('knows every name that tfjs knows', () => {
    // Every function of tf.losses that is also a loss of tfjs-layers is found by trying; the list must not be shorter.
    const candidates = [...Object.keys(tf.metrics), ...Object.keys(tf.losses), ...lossNames, ...metricNames];
    const accepted = [...new Set(candidates)].filter((loss) => tfjsAccepts({ loss }));
    expect(accepted.sort()).toEqual([...lossNames].sort());
  });

  it(
    'fails with the known names where the name is not known, also for a name that every object has',
    tidily(() => {
      for (const loss of ['crossEntropy', 'toString']) {
        expect(() => resolve({ loss }, oneHot(), probabilities())).toThrow(
          expect.objectContaining({
            code: 'ERR_JOB_INVALID',
            message: expect.stringMatching(/'(crossEntropy|toString)' is not known.*meanSquaredError/) as string,
          }),
        );
      }
    }),
  );
});

function tfjsAccepts({ loss = 'meanSquaredError', metrics = [] }: { loss?: string; metrics?: string[] }): boolean {
  const inputs = tf.input({ shape: [2] });
  const model = tf.model({
    inputs,
    outputs: tf.layers.activation({ activation: 'linear' }).apply(inputs) as SymbolicTensor,
  });
  try {
    model.compile({ optimizer: 'sgd', loss, metrics });
    return true;
  } catch {
    return false;
  } finally {
    model.dispose();
  }
}

describe('smoothed labels', () => {
  const smoothing = 0.3;
  const logitsOf = (output: Tensor) => tf.mul(output, 5);
  /** Keras: y (1 - s) + s / n, and the mean of -Σ y log p. */
  const crossEntropy = (expected: readonly number[][], chances: readonly number[][]): number =>
    -expected
      .flatMap((row, i) => row.map((y, j) => y * Math.log(given(chances[i]?.[j]))))
      .reduce((sum, one) => sum + one, 0) / expected.length;
  const smoothed = (numClasses: number): number[][] =>
    (oneHot().arraySync() as number[][]).map((row) => row.map((y) => y * (1 - smoothing) + smoothing / numClasses));
  const uncertain = (): Tensor => tf.softmax(tf.tensor2d(spread(rows * numOutputs), [rows, numOutputs]));

  it.each([
    { loss: 'sparseCategoricalCrossentropy', labels: () => tf.argMax(oneHot(), 1).expandDims(1), output: uncertain },
    { loss: 'categoricalCrossentropy', labels: oneHot, output: uncertain },
    {
      loss: 'sparseCategoricalCrossentropyFromLogits',
      labels: () => tf.argMax(oneHot(), 1).expandDims(1),
      output: () => logitsOf(uncertain()),
    },
  ])('count in  as in Keras, and not in metrics', ({ loss, labels, output }) => {
    tidily(() => {
      const values = output();
      const chances = loss.endsWith('FromLogits') ? tf.softmax(values) : values;
      const job = { loss, metrics: ['accuracy'] };
      const [found, accuracy] = measure({ ...job, labelSmoothing: smoothing }, labels(), values);
      expect(found).toBeCloseTo(crossEntropy(smoothed(numOutputs), chances.arraySync() as number[][]), 5);
      expect(accuracy).toBe(measure(job, labels(), values)[1]);
      expect(measure(job, labels(), values)[0]).not.toBeCloseTo(given(found), 2);
    })();
  });

  it(
    'count in binaryCrossentropy as those of two classes',
    tidily(() => {
      const chances = tf.sigmoid(tf.tensor2d(spread(rows * numOutputs), [rows, numOutputs]));
      const [found] = measure({ loss: 'binaryCrossentropy', labelSmoothing: smoothing }, oneHot(), chances);
      const pairs = smoothed(2)
        .flat()
        .map((y) => [y, 1 - y]);
      const both = chances
        .arraySync()
        .flat()
        .map((p) => [p, 1 - p]);
      expect(found).toBeCloseTo(crossEntropy(pairs, both), 5);
    }),
  );

  it(
    'are refused with a loss that has none',
    tidily(() => {
      for (const loss of ['meanSquaredError', (yTrue: Tensor) => yTrue]) {
        expect(() => resolve({ loss, labelSmoothing: 0.1 }, oneHot(), probabilities())).toThrow(
          'labelSmoothing goes with',
        );
      }
    }),
  );
});

describe('a metric by name', () => {
  const takesClasses = (metric: string) => metric === 'sparseCategoricalCrossentropy';

  it.each(metricNames)('%s has the value that tfjs gives it', (metric) => {
    tidily(() => {
      const loss = takesClasses(metric) ? 'sparseCategoricalCrossentropy' : 'categoricalCrossentropy';
      const labels = takesClasses(metric) ? classes() : oneHot();
      const job = { loss, metrics: [metric] };
      expectSame(measure(job, labels, probabilities()), tfjsMeasure(loss, [metric], labels, probabilities()));
    })();
  });

  it.each(['crossentropy', 'sparseCategoricalCrossentropy'])(
    '%s of logits is refused, and accuracy is not',
    (metric) => {
      tidily(() => {
        const loss = 'sparseCategoricalCrossentropyFromLogits';
        expect(() => resolve({ loss, metrics: [metric] }, classes(), probabilities())).toThrow(
          /the model gives logits/,
        );
        expect(resolve({ loss, metrics: ['accuracy'] }, classes(), probabilities()).metricNames).toEqual(['accuracy']);
      })();
    },
  );

  it('knows every name that tfjs knows', () => {
    const candidates = [...Object.keys(tf.metrics), ...Object.keys(tf.losses), ...lossNames, ...metricNames];
    const accepted = [...new Set(candidates)].filter((metric) => tfjsAccepts({ metrics: [metric] }));
    expect(accepted.sort()).toEqual([...metricNames].sort());
  });

  it.each([
    { loss: 'sparseCategoricalCrossentropy', labels: classes, expected: 'numbers of classes' },
    { loss: 'categoricalCrossentropy', labels: oneHot, expected: 'one-hot labels' },
    { loss: 'binaryCrossentropy', labels: oneHot, expected: 'each output' },
  ])('accuracy is that of $expected with $loss, as in tfjs', ({ loss, labels }) => {
    tidily(() => {
      const found = measure({ loss, metrics: ['accuracy'] }, labels(), probabilities());
      expectSame(found, tfjsMeasure(loss, ['accuracy'], labels(), probabilities()));
    })();
  });

  it(
    'accuracy is that of numbers of classes with a loss function, where the labels can be nothing else',
    tidily(() => {
      const loss = (yTrue: Tensor, yPred: Tensor) => tf.metrics.sparseCategoricalAccuracy(yTrue, yPred);
      const [, found] = measure({ loss, metrics: ['accuracy'] }, classes(), probabilities());
      const [, expected] = tfjsMeasure('sparseCategoricalCrossentropy', ['accuracy'], classes(), probabilities());
      expectSame([given(found)], [given(expected)]);
    }),
  );

  it(
    'takes labels without the last dimension of 1, as sequences have them',
    tidily(() => {
      const output = tf.softmax(tf.tensor3d(spread(24), [2, 4, 3]));
      const labels = tf.tensor2d([0, 1, 2, 0, 1, 2, 0, 1], [2, 4], 'int32');
      const job = { loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] };
      const asTfjsWantsThem = labels.expandDims(-1).cast('float32');
      expectSame(measure(job, labels, output), tfjsMeasure(job.loss, job.metrics, asTfjsWantsThem, output));
    }),
  );

  it(
    'fails with the known names where the name is not known',
    tidily(() => {
      expect(() => resolve({ metrics: ['recall'] }, oneHot(), probabilities())).toThrow(
        expect.objectContaining({
          code: 'ERR_JOB_INVALID',
          message: expect.stringContaining('accuracy, binary') as string,
        }),
      );
    }),
  );
});

describe('a function', () => {
  it(
    'is averaged over its values, and gets the labels in their own type',
    tidily(() => {
      const seen: string[] = [];
      const absolute = (yTrue: Tensor, yPred: Tensor) => {
        seen.push(yTrue.dtype);
        return tf.abs(tf.sub(yTrue.cast('float32'), yPred));
      };
      const labels = oneHot().cast('int32');
      const [loss, metric] = measure({ loss: absolute, metrics: [absolute] }, labels, probabilities());
      const [expected] = tfjsMeasure('meanAbsoluteError', [], labels, probabilities());
      expect(loss).toBeCloseTo(given(expected), 6);
      expect(metric).toBe(loss);
      expect(seen).toEqual(['int32', 'int32']);
    }),
  );

  it(
    'gives a metric its name, and a number where it has none',
    tidily(() => {
      const named = (_: Tensor, yPred: Tensor) => tf.mean(yPred);
      const metrics = ['mse', named, (_: Tensor, yPred: Tensor) => tf.max(yPred)];
      expect(resolve({ metrics }, oneHot(), probabilities()).metricNames).toEqual(['mse', 'named', 'metric3']);
    }),
  );

  it(
    'that throws, or returns no tensor, fails with its name',
    tidily(() => {
      const broken = (): Tensor => {
        throw new Error('from the function');
      };
      // What a job written in JavaScript can do.
      const noTensor = (() => 3) as unknown as () => Tensor;
      expect(() => measure({ loss: broken }, oneHot(), probabilities())).toThrow(
        expect.objectContaining({
          code: 'ERR_JOB_INVALID',
          message: "The job's loss function 'broken' failed: from the function",
        }),
      );
      expect(() => measure({ metrics: [noTensor] }, oneHot(), probabilities())).toThrow(
        "The job's metric function 'noTensor' returned number: expected a tensor.",
      );
    }),
  );
});

describe('an objective', () => {
  it(
    'refuses two metrics of one name',
    tidily(() => {
      expect(() => resolve({ metrics: ['mse', 'mse'] }, oneHot(), probabilities())).toThrow("the name 'mse'");
    }),
  );

  it.each([
    { loss: 'meanSquaredError', labels: classes, expected: /wants \[6, 3\] for .*\[6, 3\].*use 'sparseCateg/ },
    { loss: 'sparseCategoricalCrossentropy', labels: oneHot, expected: /wants \[6, 1\] or \[6\]/ },
  ])('refuses labels whose shape $loss cannot compare', ({ loss, labels, expected }) => {
    tidily(() => {
      const objective = resolve({ loss }, labels(), probabilities());
      expect(() => objective.checkShapes(labels(), probabilities())).toThrow(
        expect.objectContaining({ code: 'ERR_MODEL_INVALID', message: expect.stringMatching(expected) as string }),
      );
    })();
  });
});
