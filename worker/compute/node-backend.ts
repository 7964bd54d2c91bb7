/** What is used of tfjs-node's backend and of its addon: `nodejs_kernel_backend.js` and `tfjs_binding.cc` of 4.22. */
import type { DataType, Tensor } from '@tensorflow/tfjs';
import type { Tfjs } from './engine/tfjs.js';

/** A TensorFlow type, by TensorFlow's number: the same in the C API and in a GraphDef. */
export type TypeNumber = number;

/** A tensor that the addon holds, by its number there; a number is never used again. */
export interface TensorHandle {
  readonly id: number;
  readonly shape: readonly number[];
  readonly dtype: TypeNumber;
}

export type AttributeValue = number | boolean | string | readonly (number | boolean)[];

/** An attribute as `executeOp` takes it. */
export interface OpAttribute {
  readonly name: string;
  /** One of the addon's `TF_ATTR_…`. */
  readonly type: number;
  readonly value: AttributeValue;
}

export type HandleValues = Float32Array | Int32Array | Uint8Array | BigInt64Array | readonly Uint8Array[];

/** The addon. */
export interface NodeBinding {
  readonly TF_FLOAT: TypeNumber;
  readonly TF_INT32: TypeNumber;
  readonly TF_ATTR_STRING: number;
  readonly TF_ATTR_INT: number;
  readonly TF_ATTR_FLOAT: number;
  readonly TF_ATTR_BOOL: number;
  readonly TF_ATTR_TYPE: number;
  readonly TF_ATTR_SHAPE: number;
  readonly TF_Version: string;
  createTensor(shape: readonly number[], dtype: TypeNumber, values: HandleValues): number;
  deleteTensor(id: number): void;
  tensorDataSync(id: number): HandleValues;
  executeOp(
    name: string,
    attributes: readonly OpAttribute[],
    inputs: readonly number[],
    numOutputs: number,
  ): TensorHandle[];
  loadSavedModel(directory: string, tags: string): number;
  deleteSavedModel(id: number): void;
  /** Names of inputs and outputs are `node:output`, joined by commas. */
  runSavedModel(id: number, inputs: readonly number[], inputNames: string, outputNames: string): TensorHandle[];
  isUsingGpuDevice(): boolean;
  getNumOfTensors(): number;
  getNumOfSavedModels(): number;
}

/** What the backend knows of a tensor's data: the addon's number, or values that no op has used yet. */
export interface TensorData {
  readonly shape: readonly number[];
  readonly dtype: TypeNumber;
  readonly id: number;
  readonly values: HandleValues | null;
}

/** tfjs-node's backend. */
export interface NodeBackend {
  binding: NodeBinding;
  readonly tensorMap: { get(dataId: object): TensorData | undefined };
  /** Hands values to the addon where that was put off. */
  getInputTensorIds(tensors: readonly unknown[]): number[];
  executeSingleOutput(name: string, attributes: readonly OpAttribute[], inputs: readonly Tensor[]): Tensor;
}

/** The backend, where it is tfjs-node's. */
export function nodeBackend(tf: Tfjs): NodeBackend | undefined {
  if (tf.getBackend() !== 'tensorflow') return undefined;
  // tfjs types a backend by the part that all have in common.
  return tf.backend() as unknown as NodeBackend;
}

/** TensorFlow's numbers for the types that tfjs has (tensorflow/core/framework/types.proto). */
export const typeNumbers = { float32: 1, int32: 3, bool: 10, complex64: 8, string: 7 } as const satisfies Record<
  DataType,
  TypeNumber
>;
