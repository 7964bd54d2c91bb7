/** Connect Four, learned from nothing but games against itself, as in AlphaZero. Each epoch ends with games against others. */
import type { SymbolicTensor, Tensor, Tensor2D } from '@tensorflow/tfjs';
import { adam, cosineRate, defineJob, rollouts, tf } from 'lockstep';
import { inputShape, numTargets, playItself, playOthers } from './games.js';
import { numColumns } from './board.js';
import { minimaxPlayer, randomPlayer } from './players.js';
import { numOutputs } from './search.js';

const batchSize = 256;
const stepsPerEpoch = 200;
const epochs = 4;
/** Half of them against each. */
const numGames = 400;
const opponents = [randomPlayer, minimaxPlayer(2)];

function network() {
  const input = tf.input({ shape: inputShape });
  // The first sees any four in a row; what it saw is brought together from there on.
  const convolution = (kernelSize: number, filters: number, padding: 'same' | 'valid') =>
    tf.layers.conv2d({ kernelSize, filters, padding, activation: 'relu' });
  const lines = convolution(4, 48, 'same').apply(input);
  const places = convolution(3, 64, 'valid').apply(convolution(3, 64, 'valid').apply(lines));
  const thought = tf.layers.dense({ units: 128, activation: 'relu' }).apply(tf.layers.flatten().apply(places));
  const policy = tf.layers.dense({ units: numColumns }).apply(thought);
  const value = tf.layers.dense({ units: 1, activation: 'tanh' }).apply(thought);
  const outputs = tf.layers.concatenate().apply([policy, value] as SymbolicTensor[]); // layers type what they take loosely
  return tf.model({ inputs: input, outputs: outputs as SymbolicTensor });
}

const part = (rows: Tensor, first: number, count: number): Tensor2D =>
  tf.slice(rows as Tensor2D, [0, first], [-1, count]); // [rows, …]

/** Share of the games against an opponent that were won; of rows from games against itself: that the player won. */
const winsAgainst = (opponent: number, name: string) => {
  const metric = (yTrue: Tensor): Tensor => {
    const [outcome, other] = [part(yTrue, numOutputs, 1), part(yTrue, numOutputs + 1, 1)];
    const counts = tf.logicalOr(tf.equal(other, opponent), tf.equal(other, 0)).toFloat();
    return tf.divNoNan(tf.sum(tf.mul(tf.greater(outcome, 0).toFloat(), counts)), tf.sum(counts));
  };
  return Object.defineProperty(metric, 'name', { value: name });
};

export default defineJob({
  name: 'connect-four',
  model: network,
  loss: (yTrue, yPred) => {
    const policy = tf.losses.softmaxCrossEntropy(part(yTrue, 0, numColumns), part(yPred, 0, numColumns));
    return tf.add(policy, tf.losses.meanSquaredError(part(yTrue, numColumns, 1), part(yPred, numColumns, 1)));
  },
  metrics: [winsAgainst(1, 'beatsRandom'), winsAgainst(2, 'beatsMinimax')],
  data: {
    train: rollouts({ rowsPerEpoch: stepsPerEpoch * batchSize, x: inputShape, y: [numTargets], collect: playItself }),
    validation: rollouts({ rowsPerEpoch: numGames, x: inputShape, y: [numTargets], collect: playOthers(opponents) }),
  },
  optimizer: adam({ learningRate: cosineRate(2e-3, { steps: epochs * stepsPerEpoch, to: 1e-4 }) }),
  batchSize,
  epochs,
  slots: 2,
  seed: 1,
});
