/** As gpt2.ts, with each block computed once more in the backward pass. */
import { smallGpt2 } from './small-gpt2.js';

export default smallGpt2({ recompute: true });
