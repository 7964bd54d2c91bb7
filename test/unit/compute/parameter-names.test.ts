import { describe, expect, it } from 'vitest';
import { nameParameters } from '../../../worker/compute/parameter-names.js';

describe('nameParameters', () => {
  it('keeps the names that the user gave', () => {
    const names = ['dense1/kernel', 'Block_A7/kernel', 'conv_2/bias', 'dense_12/kernel'];
    expect(nameParameters(names)).toEqual(names);
  });

  it('counts generated names within the model, in the order in which the process made them', () => {
    expect(nameParameters(['dense_Dense12/kernel', 'dense_Dense9/kernel', 'lstm_LSTM4/kernel'])).toEqual([
      'dense_Dense2/kernel',
      'dense_Dense1/kernel',
      'lstm_LSTM1/kernel',
    ]);
  });

  it('knows generated names by their class, digits and prefixes included', () => {
    expect(
      nameParameters([
        'conv2d_Conv2D8/kernel',
        'net2_Net231/w',
        'bidirectional_Bidirectional3/forward_lstm_LSTM7/kernel',
      ]),
    ).toEqual(['conv2d_Conv2D1/kernel', 'net2_Net21/w', 'bidirectional_Bidirectional1/forward_lstm_LSTM1/kernel']);
  });

  it('tells weights of the same name apart', () => {
    expect(nameParameters(['a/kernel', 'a/kernel', 'a/kernel_1'])).toEqual(['a/kernel', 'a/kernel_1', 'a/kernel_1_1']);
  });
});
