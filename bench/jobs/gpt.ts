/**
 * A GPT of 4 layers, 128 wide, 4 heads, on 64 tokens of 256 kinds. Embedding and normalization are not those of tfjs: it
 * takes the gradients of `gather` and `tile` in hundreds of pieces, which would be most of what is measured.
 */
import { adam, defineJob, tf } from 'lockstep';
import type { LayersModel, SymbolicTensor, Tensor } from '@tensorflow/tfjs';
import { randomClasses } from './random.js';
import { repeated, type Rows } from './repeated.js';

const [numRows, numTokens, numKinds, width, numHeads, numLayers] = [512, 64, 256, 128, 4, 4];

export const rows: Rows = {
  x: { data: randomClasses(numRows * numTokens, numKinds, 1), shape: [numRows, numTokens] },
  y: { data: randomClasses(numRows * numTokens, numKinds, 2), shape: [numRows, numTokens, 1] },
};

type Layer = InstanceType<typeof tf.layers.Layer>;
type Weight = ReturnType<Layer['addWeight']>;

function gpt(): LayersModel {
  const { dense, add } = tf.layers;
  const { Embeddings, Normalization, Attention } = layerClasses();
  const inputs = tf.input({ shape: [numTokens] });
  const through = (layer: Layer, x: SymbolicTensor | SymbolicTensor[]): SymbolicTensor =>
    layer.apply(x) as SymbolicTensor; // symbolic in, symbolic out
  const residual = (x: SymbolicTensor, layers: readonly Layer[]): SymbolicTensor => {
    const branch = layers.reduce((y, layer) => through(layer, y), x);
    return through(add(), [x, branch]);
  };
  let x = through(new Embeddings(), inputs);
  for (let i = 0; i < numLayers; i++) {
    x = residual(x, [new Normalization(), dense({ units: 3 * width }), new Attention(), dense({ units: width })]);
    x = residual(x, [new Normalization(), dense({ units: 4 * width, activation: 'relu' }), dense({ units: width })]);
  }
  const outputs = through(dense({ units: numKinds, activation: 'softmax' }), through(new Normalization(), x));
  return tf.model({ inputs, outputs });
}

/** Made when the model is: the coordinator reads this file too, and has no tfjs. */
function layerClasses() {
  /** A learnt vector for each token, by a product with one-hot rows, and one for each position. */
  class Embeddings extends tf.layers.Layer {
    static readonly className = 'Embeddings';
    #tokens: Weight | undefined;
    #positions: Weight | undefined;

    override build(): void {
      const initializer = tf.initializers.randomNormal({ mean: 0, stddev: 0.02 });
      this.#tokens = this.addWeight('tokens', [numKinds, width], 'float32', initializer);
      this.#positions = this.addWeight('positions', [numTokens, width], 'float32', initializer);
      this.built = true;
    }

    override computeOutputShape(): (number | null)[] {
      return [null, numTokens, width];
    }

    override call(inputs: Tensor | Tensor[]): Tensor {
      const [tokens, positions] = [built(this.#tokens), built(this.#positions)];
      return tf.tidy(() => {
        const ids = tf.reshape(tf.cast(first(inputs), 'int32'), [-1]);
        const found = tf.matMul(tf.cast(tf.oneHot(ids, numKinds), 'float32'), tokens.read());
        return tf.add(tf.reshape(found, [-1, numTokens, width]), positions.read());
      });
    }
  }

  /** Layer normalization (Ba et al., 2016, arXiv:1607.06450). */
  class Normalization extends tf.layers.Layer {
    static readonly className = 'Normalization';
    #scale: Weight | undefined;
    #shift: Weight | undefined;

    override build(): void {
      this.#scale = this.addWeight('scale', [width], 'float32', tf.initializers.ones());
      this.#shift = this.addWeight('shift', [width], 'float32', tf.initializers.zeros());
      this.built = true;
    }

    override call(inputs: Tensor | Tensor[]): Tensor {
      const [scale, shift] = [built(this.#scale), built(this.#shift)];
      return tf.tidy(() => {
        const x = first(inputs);
        const { mean, variance } = tf.moments(x, -1, true);
        const normal = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5)));
        return tf.add(tf.mul(normal, scale.read()), shift.read());
      });
    }
  }

  /** Causal attention of several heads, from their queries, keys and values side by side. */
  class Attention extends tf.layers.Layer {
    static readonly className = 'Attention';
    #mask: Tensor | undefined;

    override build(): void {
      const past = tf.tidy(() => tf.linalg.bandPart(tf.ones([numTokens, numTokens]), -1, 0));
      this.#mask = tf.keep(tf.tidy(() => tf.mul(tf.sub(1, past), -1e9)));
      past.dispose();
      this.built = true;
    }

    override computeOutputShape(): (number | null)[] {
      return [null, numTokens, width];
    }

    override call(inputs: Tensor | Tensor[]): Tensor {
      return tf.tidy(() => {
        const [q, k, v] = tf.split(first(inputs), 3, -1).map(toHeads);
        if (!q || !k || !v) throw new Error('a split in 3 has 3 parts');
        const scores = tf.add(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(width / numHeads)), built(this.#mask));
        const heads = tf.matMul(tf.softmax(scores), v);
        return tf.reshape(tf.transpose(heads, [0, 2, 1, 3]), [-1, numTokens, width]);
      });
    }
  }
  return { Embeddings, Normalization, Attention };
}

/** [rows, tokens, width] → [rows, heads, tokens, width / heads] */
function toHeads(x: Tensor): Tensor {
  return tf.transpose(tf.reshape(x, [-1, numTokens, numHeads, width / numHeads]), [0, 2, 1, 3]);
}

/** tfjs builds a layer before it calls it. */
function built<T>(part: T | undefined): T {
  if (part !== undefined) return part;
  throw new Error('a layer was called that is not built');
}

function first(inputs: Tensor | Tensor[]): Tensor {
  const [only] = [inputs].flat();
  if (only) return only;
  throw new Error('a layer was called without an input');
}

export default defineJob({
  name: 'gpt',
  model: gpt,
  loss: 'sparseCategoricalCrossentropy',
  data: { train: repeated(rows) },
  optimizer: adam(),
  batchSize: 8,
});
