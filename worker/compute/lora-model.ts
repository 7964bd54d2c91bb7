/**
 * A model with low-rank adapters (src/state/lora.ts) as a `TrainableModel`, whichever kind it is: only the adapters are
 * trainable, and what else the job names. In each pass the model gets the sum of a matrix and its adapters in the matrix's place.
 */
import type { Tensor, Variable } from '@tensorflow/tfjs';
import { assert } from '../../src/errors.js';
import { adapterNames, loraScale, type LoraConfig } from '../../src/state/lora.js';
import { matchesAny, requireMatches } from '../../src/state/name-pattern.js';
import type { ParameterSpec } from '../../src/state/parameter.js';
import type { Tfjs } from './engine/tfjs.js';
import type { TrainableModel } from './trainable-model.js';

interface Adapted {
  readonly name: string;
  readonly matrix: Variable;
  readonly a: Variable;
  readonly b: Variable;
}

interface Named {
  readonly parameter: ParameterSpec;
  readonly variable: Variable;
}

/**
 * Takes the model over. First values of A follow from the seed, when all of the model's own are drawn.
 *
 * @throws LockstepError ERR_JOB_INVALID where a pattern matches nothing that it could
 */
export function withLora(model: TrainableModel, lora: LoraConfig, tf: Tfjs): TrainableModel {
  const base = model.parameters.map((parameter, index) => ({ parameter, variable: given(model.variables[index]) }));
  const isMatrix = ({ parameter }: Named): boolean => parameter.trainable && parameter.shape.length === 2;
  const others = base.filter(({ parameter }) => parameter.trainable);
  requireMatches('lora.targets', lora.targets, namesOf(base.filter(isMatrix)));
  requireMatches('lora.train', lora.train, namesOf(others));
  const adapted = base
    .filter((one) => isMatrix(one) && matchesAny(lora.targets, one.parameter.name))
    .map((one) => adapt(one, lora, tf));
  const isTrained = ({ parameter }: Named): boolean => parameter.trainable && matchesAny(lora.train, parameter.name);
  const parts = [
    ...adapted.flatMap(adaptersOf),
    ...base.filter(isTrained),
    ...base.filter((one) => !isTrained(one)).map(untrained),
  ];
  return {
    ...model,
    parameters: parts.map(({ parameter }) => parameter),
    variables: parts.map(({ variable }) => variable),
    forward: (x, training) => model.forward(x, training, sums(tf, adapted, loraScale(lora))),
    dispose: () => {
      model.dispose();
      tf.dispose(adapted.flatMap(({ a, b }) => [a, b]));
    },
  };
}

/** A as Hugging Face's PEFT draws it: uniform, by Kaiming's rule for a slope of √5, within ± 1/√in. */
function adapt({ parameter: { name, shape }, variable: matrix }: Named, { rank }: LoraConfig, tf: Tfjs): Adapted {
  const [numRows = 0, numColumns = 0] = shape;
  const bound = 1 / Math.sqrt(numRows);
  const variableOf = (make: () => Tensor): Variable => tf.tidy(() => tf.variable(make()));
  return {
    name,
    matrix,
    a: variableOf(() => tf.randomUniform([numRows, rank], -bound, bound)),
    b: variableOf(() => tf.zeros([rank, numColumns])),
  };
}

function adaptersOf({ name, a, b }: Adapted): Named[] {
  const names = adapterNames(name);
  return [
    { parameter: { name: names.a, shape: a.shape, trainable: true }, variable: a },
    { parameter: { name: names.b, shape: b.shape, trainable: true }, variable: b },
  ];
}

function untrained({ parameter, variable }: Named): Named {
  return { parameter: { ...parameter, trainable: false }, variable };
}

/** What the model computes with, by the names of its own matrices. */
function sums(tf: Tfjs, adapted: readonly Adapted[], scale: number): Readonly<Record<string, Tensor>> {
  return Object.fromEntries(
    adapted.map(({ name, matrix, a, b }) => {
      return [name, tf.add(matrix, tf.mul(tf.matMul(a, b), scale))] as const;
    }),
  );
}

function namesOf(parts: readonly Named[]): string[] {
  return parts.map(({ parameter }) => parameter.name);
}

function given<T>(value: T | undefined): T {
  assert(value !== undefined, 'A model has more parameters than variables');
  return value;
}
