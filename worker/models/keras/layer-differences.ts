/** In what layers of tfjs-layers 4.22 differ from those of Keras that have their name. */
import type { Json } from '../layers/saved-object.js';

export interface Difference {
  /** From Keras's name of a field to that of tfjs-layers. */
  readonly renamed?: Readonly<Record<string, string>>;
  /** Fields that tfjs-layers does not have, with the values that mean what it does. */
  readonly only?: Readonly<Record<string, readonly Json[]>>;
  /** Fields of which tfjs-layers takes these values only. */
  readonly limited?: Readonly<Record<string, readonly Json[]>>;
  /** Fields that tfjs-layers refuses, and that mean nothing. */
  readonly dropped?: readonly string[];
}

const off = [false, null];
const channelsLast = ['channels_last', null];
const recurrent: Difference = { only: { time_major: off } };
const gatedRecurrent: Difference = { only: { time_major: off, reset_after: [false] } };
const convolution: Difference = { only: { groups: [1] } };
const transposed: Difference = {
  only: { groups: [1], output_padding: [null], dilation_rate: [1, [1, 1], [1, 1, 1]] },
};
const pooling1d: Difference = { only: { data_format: channelsLast } };
const globalPooling1d: Difference = { only: { data_format: channelsLast, keepdims: off } };
const globalPooling2d: Difference = { only: { keepdims: off } };
const notLowRank = { lora_rank: [null], quantization_config: [null] };

export const differences: Readonly<Record<string, Difference>> = {
  AveragePooling1D: pooling1d,
  BatchNormalization: { only: { renorm: off, synchronized: off } },
  Conv1D: { only: { groups: [1], data_format: channelsLast }, limited: { padding: ['valid', 'same'] } },
  Conv2D: convolution,
  Conv2DTranspose: transposed,
  Conv3D: convolution,
  Conv3DTranspose: transposed,
  Dense: { only: notLowRank },
  ELU: { only: { alpha: [1] } },
  Embedding: { only: notLowRank },
  GRU: gatedRecurrent,
  GRUCell: gatedRecurrent,
  GlobalAveragePooling1D: globalPooling1d,
  GlobalAveragePooling2D: globalPooling2d,
  GlobalMaxPooling1D: globalPooling1d,
  GlobalMaxPooling2D: globalPooling2d,
  LayerNormalization: { only: { rms_scaling: off } },
  LeakyReLU: { renamed: { negative_slope: 'alpha' } },
  LSTM: recurrent,
  MaxPooling1D: pooling1d,
  ReLU: { only: { negative_slope: [0, null], threshold: [0, null] } },
  SeparableConv2D: {
    only: { groups: [1] },
    dropped: ['kernel_initializer', 'kernel_regularizer', 'kernel_constraint'],
  },
  SimpleRNN: recurrent,
  // Keras resizes by the centres of pixels, and tfjs-layers by their corners.
  UpSampling2D: { only: { interpolation: ['nearest', null] } },
};

/** Layers of that name that compute something else, or whose calls tfjs-layers cannot save. */
export const unfitLayers: ReadonlySet<string> = new Set([
  'CategoryEncoding',
  'CenterCrop',
  'EinsumDense',
  'MultiHeadAttention',
  'RandomHeight',
  'RandomWidth',
  'Resizing',
]);
