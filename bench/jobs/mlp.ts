/** MLP 784-128-128-10. */
import { perceptron } from './perceptron.js';

export { rows } from './perceptron.js';
export default perceptron(128, 32);
