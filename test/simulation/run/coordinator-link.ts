/**
 * A simulated worker's connection to the coordinator, over all the coordinators that its run may have: what
 * worker/comm/coordinator-link.ts does, and the dialling of transport/dialler.ts.
 */
import { LockstepError, type ErrorCode } from '../../../src/errors.js';
import type { Outbox } from '../../../src/membership/outbox.js';
import type { FromCoordinator, FromWorker, RunPlan, Standing } from '../../../src/protocol/messages.js';
import { End } from './network.js';
import type { Process } from './process.js';
import type { ControlMessage, World } from './world.js';

const retryMs = 200;
const tryTimeoutMs = 1_000;

type Hello = Extract<FromWorker, { type: 'hello' }>;

export interface CoordinatorLinkOptions {
  readonly world: World;
  readonly process: Process;
  /** Where this worker was told to look. */
  readonly address: string;
  readonly hello: Hello;
  readonly standing: () => Pick<Standing, 'generation' | 'entered' | 'workers' | 'step' | 'isTraining'>;
  readonly onMessage: (message: FromCoordinator) => void;
  readonly onFailure: (error: LockstepError) => void;
}

/** A search for the next coordinator. */
interface Search {
  readonly plan: RunPlan;
  readonly sinceMs: number;
  isOver: boolean;
}

export class CoordinatorLink {
  readonly #options: CoordinatorLinkOptions;
  readonly #outbox: Outbox;
  #end: End<ControlMessage> | null = null;
  #ready: Extract<FromWorker, { type: 'ready' }> | null = null;
  #plan: RunPlan | null = null;
  #heardMs = 0;
  #search: Search | null = null;
  #isMeeting = false;
  #isOver = false;

  constructor(options: CoordinatorLinkOptions) {
    const { world, process } = options;
    this.#options = options;
    this.#outbox = world.parts.makeOutbox();
    const { connectTimeoutMs } = world.patience;
    this.#reach(world.clock.nowMs + connectTimeoutMs);
    process.after(2 * connectTimeoutMs, () => {
      if (!this.#plan) this.#fail('ERR_TIMEOUT', 'The coordinator has not answered, though it took the connection.');
    });
  }

  /** The run and the term that it follows. */
  get plan(): RunPlan | null {
    return this.#plan;
  }

  get isAway(): boolean {
    return this.#search !== null;
  }

  send(message: FromWorker): void {
    if (message.type === 'ready') this.#ready = message;
    const isConnected = this.#end?.isOpen === true;
    this.#outbox.add(message, isConnected);
    if (isConnected) this.#end?.send(message);
  }

  noticeSilence(): void {
    const { world, process } = this.#options;
    process.after(0, () => {
      if (world.clock.nowMs - this.#heardMs > world.patience.heartbeatTimeoutMs) this.#seek();
    });
  }

  #reach(deadlineMs: number): void {
    const { world, process, hello } = this.#options;
    this.#dial(this.#options.address, (end) => {
      if (end) {
        this.#follow(end);
        end.send(hello);
      } else if (world.clock.nowMs + retryMs > deadlineMs) this.#fail('ERR_CONNECT', 'No coordinator can be reached.');
      else {
        process.after(retryMs, () => {
          this.#reach(deadlineMs);
        });
      }
    });
  }

  #dial(address: string, settle: (end: End<ControlMessage> | null) => void): void {
    const { world, process } = this.#options;
    const to = world.command.listenerAt(address);
    if (to) End.dial(world.network, process, to, settle);
    else settle(null);
  }

  #follow(end: End<ControlMessage>): void {
    this.#end = end;
    this.#heardMs = this.#options.world.clock.nowMs;
    end.listen({
      onMessage: (message) => {
        if (this.#end === end) this.#hear(message as FromCoordinator); // the other end is a coordinator
      },
      onClosed: () => {
        if (this.#end === end) this.#seek();
      },
    });
  }

  #hear(message: FromCoordinator): void {
    this.#heardMs = this.#options.world.clock.nowMs;
    if (!this.#isMeeting) this.#stopSearch();
    switch (message.type) {
      case 'heard':
        this.#outbox.heard(message.count);
        return;
      case 'welcome':
        this.#followPlan(message.plan);
        break;
      case 'goodbye':
      case 'abort':
        this.#isOver = true;
        this.#stopSearch();
        break;
      default:
    }
    this.#options.onMessage(message);
  }

  #stopSearch(): void {
    if (this.#search) this.#search.isOver = true;
    this.#search = null;
  }

  #seek(): void {
    if (this.#isOver || this.#search) return;
    if (!this.#plan) this.#fail('ERR_COORDINATOR_LOST', 'The connection to the coordinator is gone.');
    else {
      const search = { plan: this.#plan, sinceMs: this.#heardMs, isOver: false };
      this.#search = search;
      this.#options.world.trace(() => `${this.#options.hello.workerId} looks for a coordinator`);
      this.#find(search, this.#places(search.plan));
    }
  }

  /** @param places where it is still to look, before it rests for a while */
  #find(search: Search, [place, ...others]: readonly string[]): void {
    const { world, process } = this.#options;
    if (search.isOver) return;
    if (place !== undefined) {
      this.#try(place, search, (isTaken) => {
        if (!isTaken) this.#find(search, others);
      });
    } else if (world.clock.nowMs - search.sinceMs > world.coordinatorTimeoutMs) {
      this.#fail('ERR_COORDINATOR_LOST', 'No coordinator has come.');
    } else {
      process.after(retryMs, () => {
        this.#find(search, this.#places(search.plan));
      });
    }
  }

  #places({ runId }: RunPlan): string[] {
    const { world, address } = this.#options;
    const published = world.folder.addressOf(runId);
    return published !== null && published !== address ? [published, address] : [address];
  }

  #try(address: string, search: Search, settle: (isTaken: boolean) => void): void {
    const { process } = this.#options;
    const tried = { isOver: false };
    const end = (isTaken: boolean): void => {
      if (tried.isOver) return;
      tried.isOver = true;
      settle(isTaken);
    };
    this.#dial(address, (connection) => {
      if (!connection || tried.isOver || search.isOver) {
        connection?.terminate();
        end(false);
      } else this.#meet(connection, search, end);
    });
    process.after(tryTimeoutMs, () => {
      if (!this.#isMeeting) end(false);
    });
  }

  #meet(end: End<ControlMessage>, { plan, sinceMs }: Search, settle: (isTaken: boolean) => void): void {
    const { world, process, hello, standing } = this.#options;
    const met = { isOver: false };
    const decide = (answer: FromCoordinator | null): void => {
      if (met.isOver) return;
      met.isOver = true;
      this.#isMeeting = false;
      const isTaken = answer !== null && !this.#isOver && world.parts.isFollowed(answer, plan);
      if (isTaken) this.#change(end, answer);
      else end.terminate();
      settle(isTaken);
    };
    this.#isMeeting = true;
    const awayMs = world.clock.nowMs - sinceMs;
    const { runId, term } = plan;
    end.send({ ...hello, standing: { runId, term, ...standing(), awayMs, facts: this.#ready?.facts ?? {} } });
    end.listen({
      onMessage: (message) => {
        decide(message as FromCoordinator); // the other end is a coordinator
      },
      onClosed: () => {
        decide(null);
      },
    });
    process.after(tryTimeoutMs, () => {
      decide(null);
    });
  }

  #change(end: End<ControlMessage>, answer: FromCoordinator): void {
    const before = this.#end;
    this.#search = null;
    this.#follow(end);
    before?.terminate();
    if (answer.type !== 'welcome') {
      this.#hear(answer);
      return;
    }
    this.#followPlan(answer.plan);
    if (this.#ready) end.send(this.#ready);
    for (const message of this.#outbox.reconnect()) end.send(message);
  }

  #followPlan(plan: RunPlan): void {
    const { world, process, hello } = this.#options;
    this.#plan = plan;
    world.trace(() => `${hello.workerId} follows the coordinator of term ${plan.term} of ${plan.runId}`);
    world.invariants.terms.onFollowed(process.name, plan);
  }

  #fail(code: ErrorCode, why: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stopSearch();
    this.#options.onFailure(new LockstepError(code, why));
  }
}
