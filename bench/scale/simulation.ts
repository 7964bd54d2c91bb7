/**
 * Steps of a collective over a virtual network and clock. Each comm thread is a queue: it takes one frame (or one bucket
 * that the compute thread made ready), asks the machine, and carries its effects out in order. A frame leaves when its
 * sender has handled it, waits for the sending host's card, comes to the receiving host's card one latency later, waits
 * for that one, and then for the receiving thread. Both cards carry a frame at the same time, as its packets follow one
 * another. Every queue is first in, first out.
 *
 * One host may stand for all (`mirrored`): where all hosts do the same at the same time, a frame that the first one sends
 * h hosts further is the twin of the one that it gets from h hosts before. Exact, and as many times cheaper as there are
 * hosts.
 */
import { assert } from '../../src/errors.js';
import { frameHeaderBytes } from '../../src/protocol/frame.js';
import { Member, type Collective, type Message, type Work } from './collective.js';
import { EventQueue } from './event-queue.js';
import { Host } from './host.js';
import type { Network } from './network.js';
import { normalNumbers } from './random.js';

/** A frame's header, and the headers of the two WebSocket fragments that it travels in. */
export const frameOverheadBytes = frameHeaderBytes + 2 + 10;

export interface SimulationOptions {
  readonly collective: Collective;
  readonly network: Network;
  /** @default 1 */
  readonly numSteps?: number;
  /** One host stands for all. @default where the collective is symmetric and there is no jitter */
  readonly mirrored?: boolean;
  /** Between the commit of a step and the gradients of the next, seconds. @default 0 */
  readonly computeSeconds?: number;
  /** Standard deviation of the logarithm of each worker's compute time in each step. @default 0 */
  readonly jitter?: number;
  /** @default 0 */
  readonly seed?: number;
  readonly observer?: Observer;
}

/** Sees what happens, in the order of the virtual clock. */
export interface Observer {
  onSent?(frame: Frame): void;
  onReceived?(frame: Frame): void;
  onWork?(rank: number, step: number, work: Work): void;
}

export interface Frame {
  readonly from: number;
  readonly to: number;
  readonly message: Message;
  readonly payloadBytes: number;
}

export interface SimulationResult {
  /** From the start to the last commit, over the steps. */
  readonly stepSeconds: number;
  /** Per step, of the first host's card: gradients and sums, without headers. */
  readonly cardBytesOut: number;
  readonly cardBytesIn: number;
  /** Share of the time in which the first host's card sends. */
  readonly cardBusy: number;
  /** Per step, of rank 0. */
  readonly framesSent: number;
  readonly framesReceived: number;
  readonly payloadBytesSent: number;
  /** Share of the time in which the comm thread of rank 0 works. */
  readonly threadBusy: number;
}

/** Simulates steps of all workers. */
export function simulate(options: SimulationOptions): SimulationResult {
  return new Simulation(options).run();
}

/** A frame on its way, from one stage to the next. */
class Flight implements Frame {
  readonly from: number;
  readonly to: number;
  readonly message: Message;
  readonly payloadBytes: number;
  /** Payload that is copied: none of what is mapped. */
  readonly copiedBytes: number;
  /** How many its sender has sent before it. */
  readonly number: number;
  stage: 'leaves' | 'at-card' | 'arrives' = 'leaves';
  readonly left: Left = { stage: 'left', flight: this };

  constructor(frame: Frame, { copiedBytes, number }: { readonly copiedBytes: number; readonly number: number }) {
    this.from = frame.from;
    this.to = frame.to;
    this.message = frame.message;
    this.payloadBytes = frame.payloadBytes;
    this.copiedBytes = copiedBytes;
    this.number = number;
  }

  get numBytes(): number {
    return this.copiedBytes + frameOverheadBytes;
  }
}

interface Ready {
  readonly stage: 'ready';
  readonly step: number;
  readonly bucket: number;
}

/** What is left to do once the last frame has left. */
interface Finish {
  readonly stage: 'finish';
  readonly works: readonly Work[];
}

type Job = Ready | Flight | Finish;

/** A frame has left its sender's memory. */
interface Left {
  readonly stage: 'left';
  readonly flight: Flight;
}

/** A worker: its machine, and the queue of its comm thread. */
class Worker {
  readonly rank: number;
  readonly host: Host;
  readonly member: Member;
  readonly computed: WorkerEvent = { stage: 'computed', worker: this };
  readonly idle: WorkerEvent = { stage: 'idle', worker: this };
  /** Has a job, or waits for a core to begin one. */
  isBusy = false;
  /** Has had nothing to do. */
  isAsleep = true;
  numSteps = 0;
  framesSent = 0;
  framesReceived = 0;
  payloadBytesSent = 0;
  busySeconds = 0;
  #jobs: Job[] = [];
  #numTaken = 0;

  constructor(rank: number, host: Host, member: Member) {
    this.rank = rank;
    this.host = host;
    this.member = member;
  }

  get hasJobs(): boolean {
    return this.#jobs.length > this.#numTaken;
  }

  add(job: Job): void {
    this.#jobs.push(job);
  }

  take(): Job {
    const job = this.#jobs[this.#numTaken++];
    assert(job, `rank ${this.rank} has a job`);
    if (this.#numTaken > 4096 && 2 * this.#numTaken > this.#jobs.length) {
      this.#jobs = this.#jobs.slice(this.#numTaken);
      this.#numTaken = 0;
    }
    return job;
  }
}

interface WorkerEvent {
  readonly stage: 'computed' | 'idle';
  readonly worker: Worker;
}

type Event = Flight | Left | WorkerEvent;

/** At one time, what ends comes before what begins. */
const orderOfStage = { idle: 0, computed: 1, left: 2, leaves: 3, 'at-card': 4, arrives: 5 } as const;

class Simulation {
  readonly #options: SimulationOptions;
  readonly #mirrored: boolean;
  readonly #numHosts: number;
  readonly #workers: readonly Worker[];
  readonly #hosts: readonly Host[];
  /** By host, workers that have a job and no core; the longest waiting first. */
  readonly #waiting = new Map<Host, Worker[]>();
  readonly #events = new EventQueue<Event>();
  readonly #normal: () => number;
  #now = 0;
  #lastCommit = 0;

  constructor(options: SimulationOptions) {
    const { collective, network, jitter = 0, seed = 0 } = options;
    const alike = collective.isSymmetric && jitter === 0;
    const { mirrored = alike } = options;
    assert(!mirrored || alike, 'one host stands for all only where all do the same');
    this.#options = options;
    this.#mirrored = mirrored;
    this.#normal = normalNumbers(seed);
    this.#numHosts = Math.ceil(collective.numWorkers / network.workersPerHost);
    this.#hosts = Array.from({ length: mirrored ? 1 : this.#numHosts }, () => new Host(network));
    for (const host of this.#hosts) this.#waiting.set(host, []);
    const numWorkers = mirrored ? network.workersPerHost : collective.numWorkers;
    this.#workers = Array.from(
      { length: numWorkers },
      (_, rank) => new Worker(rank, this.#host(this.#hostOf(rank)), new Member(collective.planOf(rank))),
    );
  }

  run(): SimulationResult {
    for (const worker of this.#workers) this.#compute(worker, 0);
    for (;;) {
      this.#now = this.#events.nextTime;
      const event = this.#events.pop();
      if (!event) break;
      this.#on(event);
    }
    return this.#result();
  }

  #on(event: Event): void {
    switch (event.stage) {
      case 'computed':
        this.#onComputed(event.worker);
        break;
      case 'idle':
        this.#onIdle(event.worker);
        break;
      case 'left':
        this.#onLeft(event.flight);
        break;
      case 'leaves':
        this.#onLeaving(event);
        break;
      case 'at-card':
        this.#schedule(event, 'arrives', this.#receivingHost(event).takeIn(this.#now, event.numBytes));
        break;
      case 'arrives':
        this.#assign(this.#receiver(event), event);
        break;
    }
  }

  /** Begins the next step's computation. */
  #compute(worker: Worker, startSeconds: number): void {
    if (worker.numSteps === (this.#options.numSteps ?? 1)) return;
    const { computeSeconds = 0, jitter = 0 } = this.#options;
    const seconds = jitter === 0 ? computeSeconds : computeSeconds * Math.exp(jitter * this.#normal());
    this.#events.push(startSeconds + seconds, this.#order(orderOfStage.computed, 0, worker.rank), worker.computed);
  }

  #onComputed(worker: Worker): void {
    for (let bucket = 0; bucket < worker.member.numBuckets; bucket++) {
      this.#assign(worker, { stage: 'ready', step: worker.numSteps, bucket });
    }
  }

  #assign(worker: Worker, job: Job): void {
    worker.add(job);
    if (worker.isBusy) return;
    worker.isBusy = true;
    this.#begin(worker);
  }

  #onIdle(worker: Worker): void {
    const { host } = worker;
    const waiting = this.#waiting.get(host) ?? [];
    host.freeCores += 1;
    worker.isBusy = worker.hasJobs;
    worker.isAsleep = !worker.isBusy;
    if (worker.isBusy) waiting.push(worker);
    const next = waiting.shift();
    if (next) this.#begin(next);
  }

  /** Takes a worker's next job if there is a core for it. */
  #begin(worker: Worker): void {
    if (worker.host.freeCores === 0) {
      this.#waiting.get(worker.host)?.push(worker);
      return;
    }
    worker.host.freeCores -= 1;
    const wakeSeconds = worker.isAsleep ? this.#options.network.costs.wakeSeconds : 0;
    const seconds = this.#perform(worker, worker.take(), wakeSeconds);
    worker.isAsleep = false;
    worker.busySeconds += seconds;
    this.#events.push(this.#now + seconds, this.#order(orderOfStage.idle, 0, worker.rank), worker.idle);
  }

  /** How long a job takes, what comes before it included; what it sends leaves meanwhile. */
  #perform(worker: Worker, job: Job, secondsBefore: number): number {
    const { observer } = this.#options;
    let seconds = secondsBefore + (job.stage === 'arrives' ? this.#frameSeconds(job.copiedBytes) : 0);
    for (const work of this.#worksOf(worker, job)) {
      observer?.onWork?.(worker.rank, worker.numSteps, work);
      if (work.type === 'send') {
        const flight = this.#flight(worker, { ...work, from: worker.rank });
        seconds += this.#frameSeconds(flight.copiedBytes);
        this.#schedule(flight, 'leaves', this.#now + seconds);
      } else if (work.type === 'commit') this.#commit(worker, this.#now + seconds);
      else seconds += work.numBytes * this.#byteSecondsOf(work.type);
    }
    return seconds;
  }

  #worksOf(worker: Worker, job: Job): readonly Work[] {
    if (job.stage === 'finish') return job.works;
    if (job.stage === 'ready') return worker.member.ready(job.step, job.bucket);
    worker.framesReceived += 1;
    return this.#receive(worker, job);
  }

  #receive(worker: Worker, flight: Flight): readonly Work[] {
    this.#options.observer?.onReceived?.(flight);
    const { from, message } = flight;
    if (!this.#mirrored) return worker.member.receive(from, message);
    // Between ranks that are as many lower as bring the receiver to the first host.
    const { numWorkers } = this.#options.collective;
    const shift = flight.to - worker.rank;
    const twin = this.#options.collective.lowered(message, from, shift);
    return worker.member.receive((from - shift + numWorkers) % numWorkers, twin);
  }

  #flight(worker: Worker, frame: Frame): Flight {
    const isMapped = this.#options.network.localPayload === 'mapped' && this.#hostsFurther(frame) === 0;
    const flight = new Flight(frame, { copiedBytes: isMapped ? 0 : frame.payloadBytes, number: worker.framesSent });
    worker.framesSent += 1;
    worker.payloadBytesSent += frame.payloadBytes;
    this.#options.observer?.onSent?.(flight);
    return flight;
  }

  #commit(worker: Worker, time: number): void {
    worker.numSteps += 1;
    this.#lastCommit = Math.max(this.#lastCommit, time);
    this.#compute(worker, time);
  }

  #onLeaving(flight: Flight): void {
    const { latencySeconds, localLatencySeconds } = this.#options.network;
    const sender = this.#worker(flight.from);
    if (this.#hostsFurther(flight) === 0) {
      const copied = sender.host.copy(this.#now, flight.numBytes);
      this.#scheduleLeft(flight, copied);
      this.#schedule(flight, 'arrives', copied + localLatencySeconds);
      return;
    }
    sender.host.payloadBytesOut += flight.payloadBytes;
    this.#receivingHost(flight).payloadBytesIn += flight.payloadBytes;
    const { start, end } = sender.host.sendOut(this.#now, flight.numBytes);
    this.#scheduleLeft(flight, end);
    this.#schedule(flight, 'at-card', start + latencySeconds);
  }

  /** The thread hears of it when the frame has left, at no cost; it may have waited for just that. */
  #onLeft({ from, to, message }: Flight): void {
    const sender = this.#worker(from);
    const works = sender.member.sent(to, message.step);
    if (works.length > 0) this.#assign(sender, { stage: 'finish', works });
  }

  #scheduleLeft(flight: Flight, time: number): void {
    this.#events.push(time, this.#orderOf(flight, 'left'), flight.left);
  }

  #schedule(flight: Flight, stage: Flight['stage'], time: number): void {
    flight.stage = stage;
    this.#events.push(time, this.#orderOf(flight, stage), flight);
  }

  #orderOf(flight: Flight, stage: Flight['stage'] | 'left'): number {
    const { workersPerHost } = this.#options.network;
    const place = this.#hostsFurther(flight) * workersPerHost + (flight.from % workersPerHost);
    return this.#order(orderOfStage[stage], flight.number, place);
  }

  /** Orders the events of one time by what is the same seen from any host. Exact for 65,536 workers and 2^34 frames. */
  #order(stage: number, number: number, place: number): number {
    return stage * 2 ** 50 + number * 2 ** 16 + place;
  }

  #hostOf(rank: number): number {
    return Math.floor(rank / this.#options.network.workersPerHost);
  }

  /** From the sender's host to the receiver's, around the ring of hosts. */
  #hostsFurther({ from, to }: Frame): number {
    return (this.#hostOf(to) - this.#hostOf(from) + this.#numHosts) % this.#numHosts;
  }

  #receiver({ to }: Frame): Worker {
    return this.#worker(this.#mirrored ? to % this.#options.network.workersPerHost : to);
  }

  #receivingHost(frame: Frame): Host {
    return this.#receiver(frame).host;
  }

  #worker(rank: number): Worker {
    const worker = this.#workers[rank];
    assert(worker, `rank ${rank} is simulated`);
    return worker;
  }

  #host(index: number): Host {
    const host = this.#hosts[index];
    assert(host, `host ${index} is simulated`);
    return host;
  }

  #result(): SimulationResult {
    const { numSteps = 1 } = this.#options;
    for (const { rank, member, numSteps: done } of this.#workers) {
      const text = `rank ${rank} has committed ${done} of ${numSteps} steps: ${String(member.waiting)}`;
      assert(done === numSteps && member.step === numSteps, text);
    }
    const host = this.#host(0);
    const worker = this.#worker(0);
    return {
      stepSeconds: this.#lastCommit / numSteps,
      cardBytesOut: host.payloadBytesOut / numSteps,
      cardBytesIn: host.payloadBytesIn / numSteps,
      cardBusy: host.cardSeconds / this.#lastCommit,
      framesSent: worker.framesSent / numSteps,
      framesReceived: worker.framesReceived / numSteps,
      payloadBytesSent: worker.payloadBytesSent / numSteps,
      threadBusy: worker.busySeconds / this.#lastCommit,
    };
  }

  #byteSecondsOf(type: Exclude<Work['type'], 'send' | 'commit'>): number {
    const { applyByteSeconds, sumByteSeconds } = this.#options.network.costs;
    return type === 'apply' || type === 'advance' ? applyByteSeconds : sumByteSeconds;
  }

  #frameSeconds(numBytes: number): number {
    const { frameSeconds, byteSeconds } = this.#options.network.costs;
    return frameSeconds + numBytes * byteSeconds;
  }
}
