/** MLP 784-2048-2048-10: 5.8 million parameters. */
import { perceptron } from './perceptron.js';

export { rows } from './perceptron.js';
export default perceptron(2048, 256);
