/** A process that has loaded the engine and run one small op: what a worker costs before it has a model. One JSON line. */
import { loadBuiltEngine } from './engine.js';
import { MemoryWatch } from './peak-memory.js';

const { tf } = await loadBuiltEngine();
await tf.add(1, 2).data();
const memory = new MemoryWatch();
await memory.look(process.pid);
console.log(JSON.stringify(memory.peaks[0]));
