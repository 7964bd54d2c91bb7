/** What workers say: an event of the membership machine, a report, or a question that is answered from here. */
import { assert, isErrorCode, LockstepError, toLockstepError } from '../src/errors.js';
import type { CheckpointStore } from './checkpoint-store.js';
import type { RunJournal } from './coordinator-options.js';
import type { Injections } from './injections.js';
import { liveRoster } from './members.js';
import { isNewest } from './membership.js';
import type { MembershipEvent, MembershipState } from './membership-state.js';
import type { Reports } from './reports.js';
import type { RowServer } from './row-server.js';
import { StateHashes } from './state-hashes.js';
import type { StragglerWatch } from './straggler-watch.js';
import type { Message, WorkerConnections } from './worker-connections.js';

export interface IncomingParts {
  readonly connections: WorkerConnections;
  readonly reports: Reports;
  readonly injections: Injections;
  readonly stragglers: StragglerWatch;
  readonly store: CheckpointStore;
  /** Null: workers read the data themselves. */
  readonly rows: RowServer | null;
  readonly journal: RunJournal | null;
  readonly state: () => MembershipState;
  readonly take: (event: MembershipEvent) => void;
}

export class Incoming {
  readonly #parts: IncomingParts;
  readonly #hashes = new StateHashes();

  constructor(parts: IncomingParts) {
    this.#parts = parts;
  }

  receive(workerId: string, message: Message): void {
    const { connections, reports, injections, stragglers, store, state, take } = this.#parts;
    switch (message.type) {
      case 'ready':
        take({ ...message, workerId });
        // A worker that was refused tells nothing.
        if (state().members.has(workerId)) reports.onReady(workerId, message, state().members.values());
        break;
      case 'heartbeat':
        take({ ...message, workerId });
        stragglers.add(workerId, message, state());
        break;
      case 'halted':
      case 'connected':
      case 'draining':
      case 'leaving':
      case 'finished':
        take({ ...message, workerId });
        break;
      case 'state-hash':
        for (const event of this.#hashes.add(workerId, message, liveRoster(state()))) take(event);
        break;
      case 'failed': {
        const { code, message: text } = message.failure;
        const error = new LockstepError(isErrorCode(code) ? code : 'ERR_WORKER_FAILED', text);
        take({ type: 'failed', workerId, error });
        break;
      }
      case 'injected':
        injections.onInjected(workerId, message);
        break;
      case 'read-rows':
        void this.#serveRows(workerId, message);
        break;
      case 'read-file':
      case 'write-file':
      case 'keep-file':
        void store.answer(workerId, message).then((answer) => {
          connections.send([workerId], answer);
        });
        break;
      case 'checkpointed':
        this.#onCheckpointed(message);
        break;
      default:
        reports.onReport(message);
        injections.onStep(reports.record?.numSteps ?? 0);
    }
  }

  #onCheckpointed(message: Extract<Message, { type: 'checkpointed' }>): void {
    const { take, journal, reports, state } = this.#parts;
    const { step, path } = message;
    if (!isNewest(state(), step)) return;
    take({ type: 'checkpointed', step, path });
    journal?.note({ checkpoint: { step, path } });
    reports.onReport(message);
  }

  async #serveRows(workerId: string, request: Extract<Message, { type: 'read-rows' }>): Promise<void> {
    const { rows, connections, take } = this.#parts;
    try {
      assert(rows, `worker ${workerId} asked for rows of a job that serves none`);
      connections.send([workerId], await rows.answer(request));
    } catch (thrown) {
      take({ type: 'failed', workerId, error: toLockstepError(thrown, 'ERR_DATA_INVALID') });
    }
  }
}
