/** The thread of aside-writer.ts. It ends when it is terminated, between two writes. */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { assert, toLockstepError } from '../../src/errors.js';
import type { Log, LogLevel } from '../../src/log.js';
import { FlatMemory } from '../../src/state/memory.js';
import { toPlainError } from '../comm/channel.js';
import type { FromAside } from './aside-writer.js';
import { localFiles } from './local-files.js';
import { RemoteFiles } from './remote-files.js';
import { writeAndPrune, type AsideWrite } from './checkpoints.js';

const port = parentPort;
assert(port, 'aside-thread runs in a worker thread');

const post = (message: FromAside): void => {
  port.postMessage(message);
};
const logAt =
  (level: LogLevel): Log['info'] =>
  (message, fields = {}) => {
    post({ type: 'log', level, message, fields });
  };
const log: Log = { debug: logAt('debug'), info: logAt('info'), warn: logAt('warn'), error: logAt('error') };

const { port: coordinator } = workerData as { readonly port: MessagePort | null }; // from startAsideWriter
const files = coordinator ? new RemoteFiles(coordinator) : localFiles;

port.on('message', (what: AsideWrite) => {
  writeAndPrune({ ...what, memory: FlatMemory.attach(what.memory), sharding: null, files, log }).then(
    (isThere) => {
      post({ type: 'written', isThere });
    },
    (error: unknown) => {
      post({ type: 'failed', error: toPlainError(toLockstepError(error, 'ERR_CHECKPOINT_WRITE')) });
    },
  );
});
