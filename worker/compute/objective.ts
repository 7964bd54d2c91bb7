/**
 * What a job trains for and is measured by: its loss and its metrics, by Keras name or as functions, and what they ask of
 * the labels. tfjs resolves the names: what "accuracy" means depends on the loss and on the output's shape.
 */
import type { Scalar, SymbolicTensor, Tensor } from '@tensorflow/tfjs';
import { assert, LockstepError, toLockstepError } from '../../src/errors.js';
import type { BatchFunction, Job } from '../../src/job/job.js';
import { formatShape } from './batch.js';
import type { Tfjs } from './engine/tfjs.js';
import { ownLosses, type OwnLoss } from './losses.js';
import { smoothedLosses } from './smoothed-losses.js';

/** Every loss that tfjs-layers 4.22 has by name. */
export const lossNames = [
  'binaryCrossentropy',
  'categoricalCrossentropy',
  'categoricalHinge',
  'cosineProximity',
  'hinge',
  'kullbackLeiblerDivergence',
  'logcosh',
  'meanAbsoluteError',
  'meanAbsolutePercentageError',
  'meanSquaredError',
  'meanSquaredLogarithmicError',
  'poisson',
  'sparseCategoricalCrossentropy',
  'squaredHinge',
] as const;

/** Every metric that tfjs-layers 4.22 has by name. */
export const metricNames = [
  'MAE',
  'MAPE',
  'MSE',
  'acc',
  'accuracy',
  'binaryAccuracy',
  'categoricalAccuracy',
  'categoricalCrossentropy',
  'ce',
  'cosine',
  'crossentropy',
  'mae',
  'mape',
  'mse',
  'precision',
  'sparseCategoricalCrossentropy',
] as const;

const classLoss = 'sparseCategoricalCrossentropy';
const logitsLoss = 'sparseCategoricalCrossentropyFromLogits';

/** The named losses whose labels are numbers of classes; of all others they have the output's shape. */
const classLosses: ReadonlySet<string> = new Set([classLoss, logitsLoss]);

/** Metrics that of logits would be numbers without a meaning. */
const crossentropies: ReadonlySet<unknown> = new Set([
  'categoricalCrossentropy',
  'ce',
  'crossentropy',
  'sparseCategoricalCrossentropy',
]);

/** A loss or a metric. `byName` ones get float32 labels, as tfjs writes them for; functions get the data's own type. */
interface Measure {
  readonly label: string;
  readonly byName: boolean;
  readonly measure: BatchFunction;
}

/** What of a job says what it trains for. */
export type ObjectiveJob = Pick<Job, 'loss' | 'metrics'> & Partial<Pick<Job, 'labelSmoothing'>>;

export interface ObjectiveOptions {
  readonly tf: Tfjs;
  readonly job: ObjectiveJob;
  /** Shapes of the first batch, with their rows. */
  readonly outputShape: readonly number[];
  readonly labelShape: readonly number[];
}

/** A job's loss and metrics, resolved for the output of its model. */
export class Objective {
  /** As the job writes them; a function by its own name, or metric1, metric2, … */
  readonly metricNames: readonly string[];
  /** Whether labels are numbers of classes, to be checked against the output's last dimension. */
  readonly takesClasses: boolean;
  readonly #tf: Tfjs;
  readonly #loss: Measure;
  readonly #metrics: readonly Measure[];

  private constructor(tf: Tfjs, loss: Measure, metrics: readonly Measure[]) {
    this.#tf = tf;
    this.#loss = loss;
    this.#metrics = metrics;
    this.metricNames = metrics.map(({ label }) => label);
    this.takesClasses = loss.byName && classLosses.has(loss.label);
  }

  /** @throws LockstepError ERR_JOB_INVALID for a name that nobody knows */
  static resolve(options: ObjectiveOptions): Objective {
    const { tf, job } = options;
    checkNames(job);
    checkSmoothing(job);
    const compiled = compile(options);
    const loss = describe(job.loss, 'loss', compiled.loss);
    const metrics = compiled.metrics.map((measure, index) =>
      describe(job.metrics[index] ?? measure, `metric${index + 1}`, measure),
    );
    checkDistinct(metrics.map(({ label }) => label));
    return new Objective(tf, loss, metrics);
  }

  /** The mean loss over the rows; differentiable. */
  loss(labels: Tensor, output: Tensor): Scalar {
    return this.#mean('loss', this.#loss, labels, output);
  }

  /** The mean of each metric over the rows. */
  metrics(labels: Tensor, output: Tensor): Scalar[] {
    return this.#metrics.map((metric) => this.#mean('metric', metric, labels, output));
  }

  /**
   * The loss can compare these labels with this output. A function may take what it likes.
   *
   * @throws LockstepError ERR_MODEL_INVALID
   */
  checkShapes(labels: Tensor, output: Tensor): void {
    if (!this.#loss.byName) return;
    const rowShape = output.shape.slice(0, -1);
    const accepted = this.takesClasses ? [[...rowShape, 1], rowShape] : [output.shape];
    if (accepted.some((shape) => String(shape) === String(labels.shape))) return;
    const expected = accepted.map(formatShape).join(' or ');
    const hint =
      String(labels.shape) === String([...rowShape, 1]) ? ` For numbers of classes, use '${classLoss}'.` : '';
    throw new LockstepError(
      'ERR_MODEL_INVALID',
      `The labels have the shape ${formatShape(labels.shape)}, and the loss '${this.#loss.label}' wants ${expected} for ` +
        `the model's output of ${formatShape(output.shape)}.${hint}`,
      { details: { labels: labels.shape, output: output.shape, expected: accepted } },
    );
  }

  #mean(what: 'loss' | 'metric', { label, byName, measure }: Measure, labels: Tensor, output: Tensor): Scalar {
    const value = byName
      ? measure(this.#tf.cast(labels, 'float32'), output)
      : callFunction(this.#tf, `${what} function '${label}'`, () => measure(labels, output));
    return this.#tf.mean(value);
  }
}

function checkNames(job: Pick<Job, 'loss' | 'metrics'>): void {
  checkName('loss', job.loss, [...lossNames, ...Object.keys(ownLosses)]);
  for (const metric of job.metrics) checkName('metric', metric, metricNames);
  if (job.loss !== logitsLoss) return;
  const unfit = job.metrics.find((metric) => crossentropies.has(metric));
  if (unfit === undefined) return;
  throw new LockstepError(
    'ERR_JOB_INVALID',
    `The metric '${String(unfit)}' is of probabilities, and with the loss ${logitsLoss} the model gives logits: leave it out, the loss is that number.`,
    { details: { metric: unfit } },
  );
}

function checkName(what: 'loss' | 'metric', given: string | BatchFunction, known: readonly string[]): void {
  if (typeof given !== 'string' || known.includes(given)) return;
  throw new LockstepError(
    'ERR_JOB_INVALID',
    `The ${what} '${given}' is not known. Known names: ${known.join(', ')}. Or give a function (yTrue, yPred) => Tensor.`,
    { details: { [what]: given, known } },
  );
}

function checkDistinct(labels: readonly string[]): void {
  const repeated = labels.find((label, index) => labels.indexOf(label) !== index);
  if (repeated === undefined) return;
  throw new LockstepError('ERR_JOB_INVALID', `Two metrics have the name '${repeated}': expected each once.`, {
    details: { metrics: labels },
  });
}

function describe(given: string | BatchFunction, unnamed: string, measure: BatchFunction): Measure {
  if (typeof given === 'string') return { label: given, byName: true, measure };
  return { label: given.name === '' ? unnamed : given.name, byName: false, measure };
}

function checkSmoothing({ loss, labelSmoothing = 0 }: ObjectiveJob): void {
  if (labelSmoothing === 0 || (typeof loss === 'string' && Object.hasOwn(smoothedLosses, loss))) return;
  const known = Object.keys(smoothedLosses);
  const found = typeof loss === 'string' ? `'${loss}'` : 'a function';
  throw new LockstepError(
    'ERR_JOB_INVALID',
    `labelSmoothing goes with the losses ${known.join(', ')}, and the job's loss is ${found}.`,
    { details: { labelSmoothing, known } },
  );
}

interface Compiled {
  readonly loss: BatchFunction;
  readonly metrics: readonly BatchFunction[];
}

/** Lets tfjs resolve the names, in a model of one linear layer with the real one's output shape. */
function compile({ tf, job, outputShape, labelShape }: ObjectiveOptions): Compiled {
  const inputs = tf.input({ shape: outputShape.slice(1) });
  const layer = tf.layers.activation({ activation: 'linear' });
  // A Sequential would hide what it compiled in a model of its own.
  const model = tf.model({ inputs, outputs: layer.apply(inputs) as SymbolicTensor }); // Symbolic in, symbolic out.
  const own = ownLossOf(tf, job);
  // With a function, tfjs would take "accuracy" for that of one-hot labels, and compare numbers of classes with 0.
  const standsForClassLoss = isOwn(job.loss) || (typeof job.loss === 'function' && areClasses(labelShape, outputShape));
  try {
    model.compile({ optimizer: 'sgd', loss: standsForClassLoss ? classLoss : job.loss, metrics: job.metrics });
    const [named] = model.lossFunctions;
    const loss = typeof job.loss === 'function' ? job.loss : (own ?? named);
    assert(loss !== undefined, 'tfjs resolved no loss');
    return { loss, metrics: model.metricsTensors.map(([metric]) => metric) };
  } finally {
    model.dispose();
  }
}

/** Null where tfjs's own is meant. */
function ownLossOf(tf: Tfjs, { loss, labelSmoothing = 0 }: ObjectiveJob): BatchFunction | null {
  if (typeof loss !== 'string') return null;
  if (labelSmoothing > 0) return smoothedLosses[loss]?.(tf, labelSmoothing) ?? null;
  return isOwn(loss) ? ownLosses[loss](tf) : null;
}

function isOwn(loss: string | BatchFunction): loss is OwnLoss {
  return typeof loss === 'string' && Object.hasOwn(ownLosses, loss);
}

/** Whether labels of this shape can only be numbers of classes: one for each vector of outputs. */
function areClasses(labelShape: readonly number[], outputShape: readonly number[]): boolean {
  if (outputShape.at(-1) === 1) return false;
  const rowShape = outputShape.slice(0, -1);
  return [rowShape, [...rowShape, 1]].some((shape) => String(shape) === String(labelShape));
}

function callFunction(tf: Tfjs, what: string, call: () => unknown): Tensor {
  let value: unknown;
  try {
    value = call();
  } catch (error) {
    const { message } = toLockstepError(error);
    throw new LockstepError('ERR_JOB_INVALID', `The job's ${what} failed: ${message}`, { cause: error });
  }
  if (value instanceof tf.Tensor) return value as Tensor; // `instanceof` alone leaves the rank open, as any.
  throw new LockstepError('ERR_JOB_INVALID', `The job's ${what} returned ${typeof value}: expected a tensor.`);
}
