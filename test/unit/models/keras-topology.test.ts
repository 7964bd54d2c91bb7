/** The config of a Keras model as tfjs-layers reads it, and what it is told of what tfjs-layers lacks. */
import { describe, expect, it } from 'vitest';
import { translateModel } from '../../../worker/models/keras/topology.js';
import { savedObject, type JsonObject } from '../../../worker/models/layers/saved-object.js';

const knownClasses = new Set([
  'InputLayer',
  'Dense',
  'GRU',
  'Conv2D',
  'Bidirectional',
  'LSTM',
  'Add',
  'Resizing',
  'relu',
  'hardSigmoid',
]);

function translate(model: JsonObject, kerasMajor = 3) {
  const saved = savedObject(model);
  if (!saved) throw new Error('The test gave no model');
  return translateModel(saved, { kerasMajor, knownClasses });
}

const layer = (class_name: string, config: JsonObject, more: JsonObject = {}): JsonObject => ({
  ...{ module: 'keras.layers', class_name, config, registered_name: null },
  ...more,
});
const sequential = (...layers: JsonObject[]): JsonObject => ({
  class_name: 'Sequential',
  config: { name: 'model', layers },
});
const input = layer('InputLayer', { batch_shape: [32, 4], dtype: 'float32', sparse: false, ragged: false, name: 'in' });
const tensor = (name: string, node = 0): JsonObject => ({
  class_name: '__keras_tensor__',
  config: { shape: [null, 4], dtype: 'float32', keras_history: [name, node, 0] },
});

/** What became of the model's layers. */
const layersIn = ({ topology }: { topology: JsonObject }) =>
  (topology['config'] as { layers: { config: JsonObject; inbound_nodes?: unknown }[] }).layers;

describe('a Keras 3 model', () => {
  it('has inputs of any number of rows, names in the place of objects, and no seeds of its own', () => {
    const policy = { module: 'keras', class_name: 'DTypePolicy', config: { name: 'mixed_bfloat16' } };
    const dense = layer('Dense', {
      name: 'd',
      units: 2,
      dtype: policy,
      seed: 3,
      activation: { class_name: 'function', config: 'relu' },
    });
    const translated = translate(sequential(input, dense));
    expect(translated.problems).toEqual([]);
    const [first, second] = layersIn(translated);
    expect(first?.config).toEqual({ name: 'in', batch_input_shape: [null, 4], dtype: 'float32', sparse: false });
    expect(second?.config).toEqual({ name: 'd', units: 2, dtype: 'float32', activation: 'relu' });
  });

  it('has each call as the layers that its tensors are from; those of a sequential model count from one', () => {
    const inner = { ...sequential(input, layer('Dense', { name: 'd', units: 4 })), name: 'inner' };
    const model = {
      class_name: 'Functional',
      config: {
        name: 'model',
        layers: [
          { ...input, name: 'in', inbound_nodes: [] },
          { ...inner, inbound_nodes: [{ args: [tensor('in')], kwargs: { training: false, mask: null } }] },
          layer(
            'Add',
            { name: 'sum' },
            { name: 'sum', inbound_nodes: [{ args: [[tensor('in'), tensor('inner')]], kwargs: {} }] },
          ),
        ],
        input_layers: ['in', 0, 0],
        output_layers: [
          ['inner', 0, 0],
          ['sum', 0, 0],
        ],
      },
    };
    const translated = translate(model);
    expect(translated.problems).toEqual([]);
    expect(layersIn(translated).map(({ inbound_nodes }) => inbound_nodes)).toEqual([
      [],
      [[['in', 0, 0, {}]]],
      [
        [
          ['in', 0, 0, {}],
          ['inner', 1, 0, {}],
        ],
      ],
    ]);
    expect(translated.topology['config']).toMatchObject({
      input_layers: [['in', 0, 0]],
      output_layers: [
        ['inner', 1, 0],
        ['sum', 0, 0],
      ],
    });
  });

  it('has the wrapped layer of a Bidirectional under its own name, which tfjs-layers puts forward_ before', () => {
    const lstm = layer('LSTM', { name: 'forward_lstm', units: 2 });
    const [, wrapper] = layersIn(translate(sequential(input, layer('Bidirectional', { name: 'b', layer: lstm }))));
    expect(wrapper?.config['layer']).toMatchObject({ class_name: 'LSTM', config: { name: 'lstm' } });
  });

  it('has all that tfjs-layers lacks named at once, each with its place', () => {
    const attention = layer('MultiHeadAttention', { name: 'attention' });
    const inner = { ...sequential(input, attention), config: { name: 'encoder', layers: [input, attention] } };
    const gru = layer('GRU', { name: 'gru', units: 2, reset_after: true });
    const conv = layer('Conv2D', { name: 'conv', groups: 2, activation: 'hard_sigmoid' });
    const sum = { ...layer('Add', { name: 'plus' }), module: 'keras.src.ops.numpy' };
    const resizing = layer('Resizing', { name: 'resizing' });
    const orthogonal = { class_name: 'OrthogonalRegularizer', config: {} };
    const dense = layer('Dense', { name: 'dense', kernel_regularizer: orthogonal });
    expect(translate(sequential(inner, gru, conv, sum, resizing, dense)).problems).toEqual([
      '"encoder/attention" (MultiHeadAttention, layer 2 of 2): TensorFlow.js has no such layer',
      '"gru" (GRU, layer 2 of 6): its reset_after is true',
      '"conv" (Conv2D, layer 3 of 6): its groups is 2',
      '"conv" (Conv2D, layer 3 of 6): its activation is hard_sigmoid, which in Keras 3 is another function',
      '"plus" (Add, layer 4 of 6): TensorFlow.js has layers only, and this is an operation',
      '"resizing" (Resizing, layer 5 of 6): the one of TensorFlow.js is another',
      '"dense" (Dense, layer 6 of 6): its kernel_regularizer is OrthogonalRegularizer',
    ]);
  });

  it('has a call with tensors that are not in one list named', () => {
    const call = { args: [tensor('in'), tensor('in')], kwargs: { value: tensor('in') } };
    const model = {
      class_name: 'Functional',
      config: {
        name: 'model',
        layers: [{ ...input, name: 'in' }, layer('Dense', { name: 'd' }, { name: 'd', inbound_nodes: [call] })],
        input_layers: [['in', 0, 0]],
        output_layers: [['d', 0, 0]],
      },
    };
    expect(translate(model).problems).toEqual([
      '"d" (Dense, layer 2 of 2): it is called with several tensors that are not in one list',
      '"d" (Dense, layer 2 of 2): it is called with a tensor by the name of value',
    ]);
  });
});

describe('a Keras 2 model', () => {
  it('keeps its calls, and a hard_sigmoid, which is that of tfjs-layers', () => {
    const dense = {
      class_name: 'Dense',
      config: { name: 'd', activation: 'hard_sigmoid', axis: [3] },
      name: 'd',
      inbound_nodes: [[['in', 0, 0, {}]]],
    };
    const layers = [
      { class_name: 'InputLayer', config: { name: 'in', batch_input_shape: [null, 4] }, name: 'in', inbound_nodes: [] },
      dense,
    ];
    const model = {
      class_name: 'Functional',
      config: { name: 'm', layers, input_layers: [['in', 0, 0]], output_layers: [['d', 0, 0]] },
    };
    const translated = translate(model, 2);
    expect(translated.problems).toEqual([]);
    expect(layersIn(translated)[1]).toMatchObject({
      config: { activation: 'hard_sigmoid', axis: 3 },
      inbound_nodes: [[['in', 0, 0, {}]]],
    });
  });
});
