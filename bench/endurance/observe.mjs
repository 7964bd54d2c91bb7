/**
 * Imported before a command (NODE_OPTIONS), in each of its threads: after SIGUSR2 each writes what is alive in it, a line of JSON,
 * to the file that the environment names with the process id.
 */
import { appendFileSync } from 'node:fs';
import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { BroadcastChannel, isMainThread, threadId } from 'node:worker_threads';

setFlagsFromString('--expose-gc');
/**
 * A function is compiled to machine code after 2 KB of bytecode have run in it, and not after 66 KB: otherwise V8 compiles what a
 * recovery needs once, a function at a time, over more recoveries than are looked at, and its code grows all the while.
 */
setFlagsFromString('--interrupt-budget=2048');
const collectGarbage = runInNewContext('gc');

const channel = new BroadcastChannel('lockstep-observe');
channel.unref();

/** What a collection finds is finalized after it, and may hold on to more. */
const numCollections = 3;

async function observe(number) {
  for (let i = 0; i < numCollections; i++) {
    collectGarbage();
    await turnOfTheEventLoop();
  }
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  const facts = {
    number,
    thread: threadId,
    heapBytes: heapUsed,
    bufferBytes: external + arrayBuffers,
    handles: process.getActiveResourcesInfo().length,
    // Where tfjs keeps its engine: one for each thread, whichever copy of it is asked.
    tensors: globalThis._tfengine?.memory().numTensors ?? null,
  };
  appendFileSync(`${process.env.LOCKSTEP_OBSERVATIONS}.${process.pid}`, `${JSON.stringify(facts)}\n`);
}

if (isMainThread) {
  let number = 0;
  process.on('SIGUSR2', () => {
    channel.postMessage(++number);
    void observe(number);
  });
} else {
  channel.onmessage = ({ data }) => void observe(data);
}
