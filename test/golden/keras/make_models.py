"""Makes the files of this folder: small models of Keras with random weights, and what Keras computes with them.

Run in an environment with TensorFlow: python make_models.py FOLDER
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
from keras import Input, Model, Sequential, layers, regularizers


def sequential():
    return Sequential(
        [
            Input((6,)),
            layers.Dense(5, activation="silu", kernel_regularizer=regularizers.L2(0.01)),
            layers.Dropout(0.5, seed=7),
            layers.BatchNormalization(),
            layers.Dense(3, activation="softmax", name="output"),
        ],
        name="sequential",
    )


def vision():
    """Models inside a model, a shared layer, and a frozen part, as in transfer learning."""
    image = Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(image)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.LeakyReLU(negative_slope=0.1)(x)
    y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=1)(x)
    x = layers.Add()([x, y])
    x = layers.SeparableConv2D(5, 3, strides=2, padding="same", activation="relu")(x)
    base = Model(image, x, name="base")
    base.trainable = False
    head = Sequential([Input((5,)), layers.Dense(4, activation="gelu"), layers.Dense(4)], name="head")

    given = Input((8, 8, 2), name="given")
    x = layers.Rescaling(1 / 4, offset=0.5)(given)
    x = base(x, training=False)
    x = layers.MaxPooling2D(2)(x)
    x = layers.GlobalAveragePooling2D()(x)
    shared = layers.Dense(5, activation="tanh", name="shared")
    x = layers.Average()([shared(x), shared(shared(x))])
    x = head(x)
    return Model(given, layers.Dense(2, activation="sigmoid", name="out")(x), name="vision")


def text():
    tokens = Input((7,), dtype="int32", name="tokens")
    x = layers.Embedding(11, 6, mask_zero=True)(tokens)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.LayerNormalization()(x)
    x = layers.GRU(5, return_sequences=True, reset_after=False)(x)
    x = layers.TimeDistributed(layers.Dense(4, activation="elu"))(x)
    x = layers.SpatialDropout1D(0.1)(x)
    x = layers.RNN([layers.LSTMCell(3, unit_forget_bias=False), layers.GRUCell(4, reset_after=False)], return_sequences=True)(x)
    x = layers.Bidirectional(layers.SimpleRNN(3), merge_mode="sum")(x)
    return Model(tokens, layers.Dense(11, activation="log_softmax")(x), name="text")


def every_layer():
    """The layers that the others do not have."""
    given = Input((6, 6, 3), name="given")
    x = layers.ZeroPadding2D(((1, 0), (0, 1)))(given)
    x = layers.Cropping2D(((0, 1), (1, 0)))(x)
    x = layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="softplus")(x)
    x = layers.AveragePooling2D(2, padding="same")(x)
    x = layers.UpSampling2D(2)(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.PReLU(shared_axes=[1, 2])(x)
    x = layers.ELU()(x)
    x = layers.ReLU(max_value=2.0)(x)
    parts = [layers.GlobalMaxPooling2D()(x)]

    cubes = layers.Reshape((6, 6, 3, 1))(x)
    cubes = layers.Conv3D(2, 2, padding="same", activation="selu")(cubes)
    cubes = layers.Conv3DTranspose(2, 2, strides=1, padding="same", activation="mish")(cubes)
    cubes = layers.MaxPooling3D((2, 2, 1))(cubes)
    cubes = layers.AveragePooling3D((1, 1, 3))(cubes)
    parts.append(layers.Flatten()(cubes))

    frames = layers.Reshape((3, 2, 6, 3))(x)
    parts.append(layers.Flatten()(layers.ConvLSTM2D(2, 2, padding="same")(frames)))
    small = Sequential(
        [Input((2, 6, 3)), layers.Conv2D(2, 2), layers.BatchNormalization(), layers.Flatten()], name="small"
    )
    parts.append(layers.Flatten()(layers.TimeDistributed(small)(frames)))

    steps = layers.Reshape((9, 12))(x)
    steps = layers.Permute((2, 1))(steps)
    steps = layers.Conv1D(4, 3, padding="same", dilation_rate=2, activation="softsign")(steps)
    steps = layers.GaussianNoise(0.1)(layers.AlphaDropout(0.1)(layers.GaussianDropout(0.1)(steps)))
    steps = layers.MaxPooling1D(2)(steps)
    steps = layers.AveragePooling1D(2)(steps)
    a = layers.Dense(4, activation="relu6")(layers.GlobalAveragePooling1D()(steps))
    b = layers.Dense(4, activation="linear")(layers.GlobalMaxPooling1D()(steps))
    b = layers.Activation("softmax")(b)
    parts += [layers.Multiply()([a, b]), layers.Maximum()([a, b]), layers.Minimum()([a, b])]
    parts.append(layers.Dot(axes=1, normalize=True)([a, b]))
    parts.append(layers.Flatten()(layers.RepeatVector(2)(layers.Softmax()(a))))
    return Model(given, layers.Concatenate()(parts), name="every_layer")


def inputs_of(model, rng):
    shape = (3, *model.input_shape[1:])
    if model.name == "text":
        tokens = rng.integers(1, 11, shape).astype("int32")
        tokens[0, 4:] = 0  # masked
        return tokens
    return rng.normal(size=shape).astype("float32")


def main(folder):
    expected = {"keras": keras.__version__, "models": {}}
    for make in (sequential, vision, text, every_layer):
        keras.utils.clear_session()
        rng = np.random.default_rng(5)
        model = make()
        values = []
        for weight in model.weights:
            drawn = rng.normal(scale=0.3, size=weight.shape)
            values.append(np.abs(drawn) + 0.5 if "variance" in weight.name or "gamma" in weight.name else drawn)
        model.set_weights(values)
        x = inputs_of(model, rng)
        y = model.predict(x, verbose=0)
        name = make.__name__
        model.save(folder / f"{name}.keras")
        model.save(folder / f"{name}.h5")
        expected["models"][name] = {
            "x": {"shape": x.shape, "dtype": str(x.dtype), "values": x.ravel().tolist()},
            "y": {"shape": y.shape, "values": y.ravel().tolist()},
        }
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")


main(Path(sys.argv[1]))
