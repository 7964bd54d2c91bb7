/** 124 million parameters, a row for each of two workers. */
import { smallGpt2 } from './small-gpt2.js';

export default smallGpt2();
