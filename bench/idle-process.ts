/** A process that has loaded the engine and run one small op: what a worker costs before it has a model. One JSON line. */
import { loadBuiltEngine } from './engine.js';
import { peakBytes } from './peak-memory.js';

const { tf } = await loadBuiltEngine();
await tf.add(1, 2).data();
console.log(JSON.stringify({ peakBytes: await peakBytes(process.pid) }));
