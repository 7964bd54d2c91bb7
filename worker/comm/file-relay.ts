/** What this worker's threads ask about files of the run directory, on its way to the coordinator, and the answers back. */
import type { MessagePort } from 'node:worker_threads';
import type { FileQuestion } from '../../src/protocol/file-questions.js';
import type { FileAnswer, FromWorker } from '../../src/protocol/messages.js';

/** On a port, from who asks. Numbers are the asker's own. */
export interface Question {
  readonly id: number;
  readonly question: FileQuestion;
}

export interface Answer {
  readonly id: number;
  readonly answer: FileAnswer;
}

export class FileRelay {
  readonly #send: (message: FromWorker) => void;
  readonly #asked = new Map<number, { readonly id: number; readonly port: MessagePort }>();
  #last = 0;

  constructor(send: (message: FromWorker) => void) {
    this.#send = send;
  }

  /** Takes the questions that come on this port. */
  serve(port: MessagePort): void {
    port.on('message', ({ id, question }: Question) => {
      const request = ++this.#last;
      this.#asked.set(request, { id, port });
      this.#send({ ...question, request });
    });
    port.unref();
  }

  /** One that nobody waits for is one that was asked again, of a coordinator that is back. */
  settle(answer: FileAnswer): void {
    const asked = this.#asked.get(answer.request);
    this.#asked.delete(answer.request);
    asked?.port.postMessage({ id: asked.id, answer } satisfies Answer);
  }
}
