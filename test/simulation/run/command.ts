/**
 * Starts coordinators, one after another or one beside one that is stopped, each by the same command: what bin/run.ts, run-start.ts and
 * take-back.ts do, and whoever gives the command again.
 */
import {
  Journal,
  pastOf,
  type JournalBegun,
  type JournalContent,
  type JournalFile,
} from '../../../coordinator/journal.js';
import { Acts } from './acts.js';
import { Coordinator } from './coordinator.js';
import type { Listening } from './network.js';
import { Process } from './process.js';
import type { DiskFate } from './run-folder.js';
import type { ControlMessage, World } from './world.js';

/** So long a command waits for an answer of a coordinator that may be there: longer than one goes without a look at the journal. */
const answerTimeoutMs = 1_000;

interface Started {
  readonly coordinator: Coordinator;
  readonly process: Process;
  readonly acts: Acts;
  readonly address: string;
  /** The disk was lost, and with it where the ones before were: who starts it gives it their addresses, too. */
  readonly isHeir: boolean;
}

export class Command {
  readonly #world: World;
  /** Oldest first. */
  readonly #started: Started[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  /** Of the coordinator that has the run; where none lives, of the last. */
  get coordinator(): Coordinator {
    return this.#current.coordinator;
  }

  /** Where it listens. */
  get address(): string {
    return this.#current.address;
  }

  listenerAt(address: string): Listening<ControlMessage> | undefined {
    const there = this.#started.filter((one) => one.address === address || one.isHeir);
    const newest = newestOf(there);
    return (
      newest && {
        process: newest.process,
        onConnection: (end) => {
          newest.coordinator.connections.open(end);
        },
      }
    );
  }

  start(): void {
    const world = this.#world;
    const left = world.folder.left();
    const process = new Process(world.clock, `coordinator ${this.#started.length + 1}`, 0);
    const acts = new Acts(process);
    const journal = this.#beginJournal(left?.journal ?? null, process, acts);
    const { runId, term } = journal.content;
    world.trace(() => `${process.name} begins, with term ${term} of ${runId}`);
    const own = { world, process, acts, journal };
    const past = left ? pastOf(journal.content) : null;
    const address = this.#placeFor(left?.journal.url ?? '');
    const coordinator = new Coordinator({ ...own, past, before: left?.before ?? null });
    const isHeir = this.#started.length > 0 && (left === null || this.#started.some((one) => one.isHeir));
    this.#started.push({ coordinator, process, acts, address, isHeir });
    journal.note({ url: address });
    world.folder.publish(runId, address);
    world.invariants.terms.onBegan({ runId, term }, process, world.clock.nowMs, false);
    world.launcher.onCoordinator();
  }

  /** After so many more things that it does, and then the command is given again. Returns how long that takes. */
  crash({ numActs, awayMs, fate }: { numActs: number; awayMs: number; fate: DiskFate }): number {
    const { process, acts } = this.#current;
    acts.limit(numActs, () => {
      this.#world.trace(() => `${process.name} dies; its disk is ${fate}`);
      process.die(fate !== 'power-cut');
      this.#suffer(fate);
      this.#world.clock.after(awayMs, () => {
        if (!this.#isAnswered()) this.start();
      });
    });
    return awayMs;
  }

  /** It is stopped for a while, in which another one is started. */
  replace({ ms, fate }: { ms: number; fate: DiskFate }): number {
    const { clock } = this.#world;
    const { process } = this.#current;
    process.stop();
    const { stoppedMs } = process;
    clock.after(answerTimeoutMs, () => {
      const isSilent = stoppedMs !== null && process.stoppedMs === stoppedMs;
      if (!isSilent || this.#isAnswered()) return;
      this.#suffer(fate);
      this.start();
    });
    clock.after(ms, () => {
      process.resume();
    });
    return ms;
  }

  /** A coordinator leaves its run to another one. Where that one is gone by now, somebody gives the command again. */
  onYield(): void {
    this.#world.clock.after(answerTimeoutMs, () => {
      if (this.#started.every(({ process }) => process.isDead)) this.start();
    });
  }

  /** A coordinator whose disk was lost knows its run by now. */
  onRunFound(process: Process, runId: string, term: number): void {
    const { folder, invariants, clock } = this.#world;
    const address = this.#started.find((one) => one.process === process)?.address;
    if (address !== undefined) folder.publish(runId, address);
    invariants.terms.onBegan({ runId, term }, process, clock.nowMs, true);
  }

  get #current(): Started {
    const owner = this.#ownerOf(this.#world.folder.read());
    const current = owner && !owner.process.isDead ? owner : newestOf(this.#started);
    if (!current) throw new Error('No coordinator was started.');
    return current;
  }

  /** By the one that the journal names. */
  #isAnswered(): boolean {
    const owner = this.#ownerOf(this.#world.folder.read());
    return owner !== undefined && !owner.process.isDead && !owner.process.isStopped;
  }

  #ownerOf(journal: JournalContent | null): Started | undefined {
    return this.#started.find(({ process }) => process.name === journal?.owner);
  }

  #suffer(fate: DiskFate): void {
    const { folder, disk, invariants } = this.#world;
    folder.suffer(fate);
    if (fate === 'lost') {
      // One that lives, and is stopped, is fenced off by nothing but the workers that have heard of another.
      if (this.#started.some(({ process }) => !process.isDead)) invariants.onDisturbed();
      disk.lose();
      invariants.terms.onDiskLost();
    }
    if (fate !== 'kept') invariants.onLinesLost(folder.metrics().record);
  }

  #beginJournal(left: JournalContent | null, process: Process, acts: Acts): Journal {
    const { folder, parts } = this.#world;
    const file: JournalFile = {
      read: () => folder.read(),
      replace: (content, options) => {
        acts.do(() => {
          folder.replace(content, options);
        });
      },
    };
    const own = { owner: process.name, host: 'host 0', process: null };
    const begun = left ? parts.successorOf(left, own) : this.#newRun(own);
    const warn = (text: string): void => {
      this.#world.trace(() => text);
    };
    return Journal.begin(file, begun, { warn });
  }

  /** Where the one before was, unless that one is there still. */
  #placeFor(url: string): string {
    if (url === '') return 'address 0';
    const isTaken = this.#started.some(({ address, process }) => address === url && !process.isDead);
    return isTaken ? `address ${this.#started.length}` : url;
  }

  #newRun(own: Pick<JournalBegun, 'owner' | 'host' | 'process'>): JournalBegun {
    const { job, setting } = this.#world;
    const { slots, steps } = job.shape;
    return {
      ...own,
      ...{ runId: `run ${this.#started.length}`, term: 1, url: '', ended: false, facts: {}, steps, slots, threads: 1 },
      ...{ resume: null, metricsBytes: 0, numWanted: setting.numWorkers, generation: 0, roster: [], checkpoint: null },
      ...{ recoveries: [], launched: [] },
    };
  }
}

function newestOf(started: readonly Started[]): Started | undefined {
  return started.findLast(({ process }) => !process.isDead) ?? started.at(-1);
}
