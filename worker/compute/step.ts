/**
 * The eager training step: one slot's batch and the weights in, its loss and gradient out. The result is a function of
 * the batch, the bound weights and the key (seed, step, slot) and of nothing else. This is also the oracle that compiled
 * steps are compared with.
 */
import type { Scalar, Tensor } from '@tensorflow/tfjs';
import { assert, LockstepError, toLockstepError } from '../../src/errors.js';
import type { Batch, Column } from '../../src/job/dataset.js';
import type { Log } from '../../src/log.js';
import { sizeOf, type ParameterSpec } from '../../src/state/parameter.js';
import { atLeastTwoDimensions, checkBatch, checkLabels, checkTokens, inputTensor, labelTensor } from './batch.js';
import { asItIs, contribute, type Contribution } from './contribution.js';
import { differentiate } from './differentiate.js';
import type { Tfjs } from './engine/tfjs.js';
import { passForward, type FirstPass } from './first-pass.js';
import { collectGarbage } from './garbage.js';
import { copyValues } from './initial-values.js';
import { makeModel, type ModelJob } from './model.js';
import { Objective, type ObjectiveJob } from './objective.js';
import type { PassObserver } from './pass.js';
import { withSeededRandom, type RandomKey } from './random.js';
import { withStatelessRandom } from './stateless-random.js';
import { assignVariables, type TrainableModel } from './trainable-model.js';

/** What the randomness of a step (dropout, noise) follows from. */
export type StepKey = Omit<Extract<RandomKey, { purpose: 'step' }>, 'purpose'>;

/** Where a step writes, besides what it returns. Views on shared memory may be given. */
export interface SlotOutputs {
  /** One per trainable parameter. */
  readonly gradients: readonly Float32Array[];
  /** One per parameter that a step assigns (not trainable, not frozen): its value after this slot's forward pass. */
  readonly state: readonly Float32Array[];
}

/** Means over the rows of a batch. */
export interface Measurements {
  readonly loss: number;
  /** In the order of `metricNames`. */
  readonly metrics: readonly number[];
}

/** A training step as those who run it see it: eager or compiled. */
export type SlotStep = Pick<TrainingStep, keyof TrainingStep>;

export interface BuildOptions {
  readonly tf: Tfjs;
  readonly job: ModelJob & ObjectiveJob;
  readonly seed: number;
  readonly log: Log;
  /** Any batch of the job's data: shapes are checked on it, and one step is tried. */
  readonly sample: Batch;
  /** Where the job's relative paths start. @default the working directory */
  readonly baseDir?: string;
}

interface Parts {
  readonly model: TrainableModel;
  readonly objective: Objective;
  readonly initialValues: readonly Float32Array[];
  readonly firstPass: FirstPass;
}

/** A job's model with its loss and metrics, ready to run slots. Not for concurrent use: a call is synchronous. */
export class TrainingStep {
  /** Trainable parameters first, then state, each in the model's order. */
  readonly parameters: readonly ParameterSpec[];
  readonly metricNames: readonly string[];
  /** For a loss that takes numbers of classes: how many the model has. */
  readonly numClasses: number | undefined;
  /** For a model of tokens: how many it knows. */
  readonly numTokens: number | undefined;

  readonly #tf: Tfjs;
  readonly #model: TrainableModel;
  readonly #objective: Objective;
  readonly #seed: number;
  readonly #numTrainable: number;
  #weights: readonly Float32Array[];
  #bound = false;

  private constructor({ tf, seed }: BuildOptions, parts: Parts) {
    this.#tf = tf;
    this.#seed = seed;
    this.#model = parts.model;
    this.#objective = parts.objective;
    this.#weights = parts.initialValues;
    this.parameters = parts.model.parameters.map((parameter, index) =>
      parameter.trainable || parts.firstPass.assigned[index] === true ? parameter : { ...parameter, frozen: true },
    );
    this.metricNames = parts.objective.metricNames;
    this.numTokens = parts.model.numTokens;
    this.numClasses = parts.objective.takesClasses ? parts.firstPass.outputShape.at(-1) : undefined;
    this.#numTrainable = this.parameters.filter(({ trainable }) => trainable).length;
  }

  /**
   * Makes the model, resolves loss and metrics, and tries one step on the sample, so that a model or a job that cannot be
   * trained says so before anything is trained.
   *
   * @throws LockstepError ERR_MODEL_INVALID, ERR_JOB_INVALID, ERR_DATA_INVALID or ERR_LABEL_OUT_OF_RANGE
   */
  static async build(options: BuildOptions): Promise<TrainingStep> {
    const { tf, job, seed, sample } = options;
    checkBatch(sample);
    const model = await makeModel(job, options);
    try {
      const initialValues = copyValues(model.parameters, model.variables);
      const firstPass = passForward(model, options);
      const { outputShape } = firstPass;
      const labelShape = atLeastTwoDimensions(sample.y.shape);
      const objective = Objective.resolve({ tf, job, outputShape, labelShape });
      const step = new TrainingStep(options, { model, objective, initialValues, firstPass });
      step.trace(sample, { seed, step: 0, slot: 0 }, { end: ({ loss, metrics }) => measure(loss, metrics) });
      return step;
    } catch (error) {
      model.dispose();
      throw describeFailure(error);
    }
  }

  /** The values that the model is made with, by making it once more: for when the bound weights have changed. */
  static async valuesMadeAnew({ job, ...options }: BuildOptions): Promise<readonly Float32Array[]> {
    const model = await makeModel(job, options);
    try {
      return model.variables.map((variable) => variable.dataSync<'float32'>().slice());
    } finally {
      model.dispose();
    }
  }

  /** The values that the model was made with, in the order of `parameters`, to be read. For use before `bindWeights`. */
  initialValues(): readonly Float32Array[] {
    assert(!this.#bound, 'The initial values were asked for after the weights were bound');
    return this.#weights;
  }

  /** Takes the weights from these views from now on: one per parameter, in the order of `parameters`. */
  bindWeights(views: readonly Float32Array[]): void {
    const sizes = this.parameters.map(({ shape }) => sizeOf(shape));
    assert(
      views.length === sizes.length && views.every((view, index) => view.length === sizes[index]),
      `Weights of ${views.map(({ length }) => length).join(', ')} values were bound to parameters of ${sizes.join(', ')}`,
    );
    this.#weights = views;
    this.#bound = true;
    // The model's own copy goes now, and not with the next eager pass: a run that is compiled may have none.
    this.#tf.tidy(() => {
      assignVariables(this.#tf, this.#model, views);
    });
    collectGarbage();
  }

  /** The views that weights are taken from now. */
  get weights(): readonly Float32Array[] {
    return this.#weights;
  }

  /**
   * Loss and metrics of one slot; its gradient of the mean loss over its rows, and its state, into `outputs`.
   *
   * @param contribution with which weight, and onto what. @default the values as they are
   */
  gradient(batch: Batch, key: StepKey, outputs: SlotOutputs, contribution: Contribution = asItIs): Measurements {
    return this.trace(batch, key, {
      end: ({ loss, metrics, gradients, state }) => {
        const write = (tensor: Tensor | undefined, target: Float32Array | undefined): void => {
          if (target) contribute(target, tensor?.dataSync<'float32'>() ?? null, contribution);
        };
        gradients.forEach((gradient, index) => write(gradient, outputs.gradients[index]));
        state.forEach((tensor, index) => write(tensor, outputs.state[index]));
        return measure(loss, metrics);
      },
    });
  }

  /** Loss and metrics in inference mode. As in `LayersModel.evaluate`, without what regularizers add. */
  evaluate(batch: Batch): Measurements {
    checkBatch(batch);
    checkTokens(batch, this.numTokens);
    return this.#pass({ purpose: 'evaluation', seed: this.#seed }, {}, () => {
      const labels = labelTensor(this.#tf, batch.y);
      const output = this.#model.forward(inputTensor(this.#tf, batch.x), false);
      return measure(this.#loss(batch, labels, output), this.#objective.metrics(labels, output));
    });
  }

  /**
   * Runs `body` with the model in inference mode and the weights as they are bound now; its `Math.random` is the key's stream.
   * Outputs are copies.
   */
  predicting<T>(key: RandomKey, body: (predict: (x: Column) => Column) => T): T {
    const predict = (x: Column): Column =>
      this.#tf.tidy(() => {
        const output = this.#model.forward(inputTensor(this.#tf, x), false);
        return { data: output.dataSync<'float32'>(), shape: output.shape };
      });
    return this.#pass(key, {}, () => body(predict));
  }

  /** Tensors alive in this process. */
  get numTensors(): number {
    return this.#tf.memory().numTensors;
  }

  dispose(): void {
    this.#model.dispose();
  }

  /** One training pass, watched. Compiled steps are made from what it does. */
  trace<T>(batch: Batch, key: StepKey, observer: PassObserver<T>): T {
    checkBatch(batch);
    checkTokens(batch, this.numTokens);
    return this.#pass({ purpose: 'step', ...key }, observer, () => {
      const tf = this.#tf;
      const labels = labelTensor(tf, batch.y);
      const inputs = inputTensor(tf, batch.x);
      observer.begin?.({ inputs, labels, weights: this.#model.variables });
      let output: Tensor | undefined;
      try {
        const trainable = this.#model.variables.slice(0, this.#numTrainable);
        const { value, grads } = differentiate(tf, trainable, () => {
          // Kept, so that the metrics can be taken outside of the gradient's tape.
          output = tf.keep(this.#model.forward(inputs, true));
          const loss = this.#loss(batch, labels, output);
          return this.#model.penalties().reduce<Scalar>((sum, penalty) => tf.add(sum, penalty), loss);
        });
        assert(output !== undefined, 'A gradient came without a forward pass');
        return observer.end({
          loss: value,
          metrics: this.#objective.metrics(labels, output),
          gradients: trainable.map(({ name }) => grads[name]),
          state: this.#model.variables.filter((_, index) => isAssigned(this.parameters[index])),
        });
      } finally {
        output?.dispose();
      }
    });
  }

  /** One pass forward in inference mode, watched: its output has the place of a gradient. */
  traceForward<T>(x: Column, observer: PassObserver<T>): T {
    return this.#pass({ purpose: 'evaluation', seed: this.#seed }, observer, () => {
      const tf = this.#tf;
      const inputs = inputTensor(tf, x);
      observer.begin?.({ inputs, labels: tf.scalar(0), weights: this.#model.variables });
      const output = this.#model.forward(inputs, false);
      return observer.end({ loss: tf.sum(output), metrics: [], gradients: [output], state: [] });
    });
  }

  /** Frames a pass over the model: the weights as they are bound now, the key's randomness, and nothing left behind. */
  #pass<T>(key: RandomKey, observer: Omit<PassObserver<T>, 'end'>, body: () => T): T {
    try {
      return withSeededRandom(
        key,
        () =>
          withStatelessRandom(this.#tf, key, observer.onSeed, () => {
            let result: { readonly value: T } | undefined;
            this.#tf.tidy(() => {
              assignVariables(this.#tf, this.#model, this.#weights);
              result = { value: body() };
            });
            assert(result !== undefined, 'A pass ended without a result');
            return result.value;
          }),
        observer.onHostRandom,
      );
    } finally {
      this.#model.forgetPass();
    }
  }

  #loss(batch: Batch, labels: Tensor, output: Tensor): Scalar {
    this.#objective.checkShapes(labels, output);
    if (this.numClasses !== undefined) checkLabels(batch, this.numClasses);
    return this.#objective.loss(labels, output);
  }
}

/** Reads the loss and each metric. */
function measure(loss: Scalar, metrics: readonly Scalar[]): Measurements {
  const [first = NaN, ...rest] = [loss, ...metrics].map((scalar) => scalar.dataSync<'float32'>()[0] ?? NaN);
  return { loss: first, metrics: rest };
}

function isAssigned(parameter: ParameterSpec | undefined): boolean {
  return parameter?.trainable === false && parameter.frozen !== true;
}

function describeFailure(error: unknown): LockstepError {
  if (error instanceof LockstepError) return error;
  const { message } = toLockstepError(error);
  const text = `The model cannot be trained on the first batch: ${message}`;
  return new LockstepError('ERR_MODEL_INVALID', text, { cause: error });
}
