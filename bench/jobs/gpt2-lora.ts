/** As gpt2.ts, of which only adapters are trained: 1.2 million parameters. */
import { smallGpt2 } from './small-gpt2.js';

export default smallGpt2({
  lora: { rank: 8, alpha: 16, targets: ['transformer.h.*.attn.*.weight', 'transformer.h.*.mlp.*.weight'] },
});
