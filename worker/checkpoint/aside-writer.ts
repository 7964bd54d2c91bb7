/** A thread that writes checkpoints while the others compute and reduce. */
import { Worker, type MessagePort } from 'node:worker_threads';
import { LockstepError } from '../../src/errors.js';
import type { Log, LogFields, LogLevel } from '../../src/log.js';
import { fromPlainError, type PlainError } from '../comm/channel.js';
import type { AsideWrite, AsideWriter } from './checkpoints.js';

export type FromAside =
  | { readonly type: 'written'; readonly isThere: boolean }
  | { readonly type: 'failed'; readonly error: PlainError }
  | { readonly type: 'log'; readonly level: LogLevel; readonly message: string; readonly fields: LogFields };

/** @param port by which the coordinator writes the files; null: the thread does */
export function startAsideWriter(log: Log, port: MessagePort | null): AsideWriter {
  const [workerData, transferList] = [{ port }, port ? [port] : []];
  const thread = new Worker(new URL('./aside-thread.js', import.meta.url), {
    ...{ name: 'checkpoints', workerData, transferList },
  });
  let settle: { readonly resolve: (isThere: boolean) => void; readonly reject: (error: unknown) => void } | null = null;
  thread.on('message', (message: FromAside) => {
    if (message.type === 'log') log[message.level](message.message, message.fields);
    else if (message.type === 'written') settle?.resolve(message.isThere);
    else settle?.reject(fromPlainError(message.error));
  });
  thread.on('error', (error) => settle?.reject(error));
  thread.on('exit', () => {
    settle?.reject(new LockstepError('ERR_CHECKPOINT_WRITE', 'The thread that writes checkpoints has ended.'));
  });
  return {
    write: (what: AsideWrite) =>
      new Promise<boolean>((resolve, reject) => {
        settle = { resolve, reject };
        thread.postMessage(what);
      }),
    close: async () => {
      await thread.terminate();
    },
  };
}
