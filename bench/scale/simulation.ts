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
import type { Collective, Member, Send, Work } from './collective.js';
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
  readonly step: number;
  readonly send: Send;
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
  readonly step: number;
  readonly send: Send;
  readonly payloadBytes: number;
  /** How many its sender has sent before it. */
  readonly number: number;
  stage: 'leaves' | 'at-card' | 'arrives' = 'leaves';

  constructor(from: number, to: number, step: number, send: Send, payloadBytes: number, number: number) {
    this.from = from;
    this.to = to;
    this.step = step;
    this.send = send;
    this.payloadBytes = payloadBytes;
    this.number = number;
  }

  get numBytes(): number {
    return this.payloadBytes + frameOverheadBytes;
  }
}

interface Ready {
  readonly stage: 'ready';
  readonly step: number;
  readonly bucket: number;
}

type Job = Ready | Flight;

/** A worker: its machine, and the queue of its comm thread. */
class Worker {
  readonly rank: number;
  readonly host: Host;
  readonly member: Member;
  readonly computed: WorkerEvent = { stage: 'computed', worker: this };
  readonly idle: WorkerEvent = { stage: 'idle', worker: this };
  /** Has a job, or waits for a core to begin one. */
  isBusy = false;
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

/** At one time, what ends comes before what begins. */
const orderOfStage = { idle: 0, computed: 1, leaves: 2, 'at-card': 3, arrives: 4 } as const;

class Simulation {
  readonly #options: SimulationOptions;
  readonly #mirrored: boolean;
  readonly #numHosts: number;
  readonly #workers: readonly Worker[];
  readonly #hosts: readonly Host[];
  /** By host, workers that have a job and no core; the longest waiting first. */
  readonly #waiting = new Map<Host, Worker[]>();
  readonly #events = new EventQueue<Flight | WorkerEvent>();
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
      (_, rank) => new Worker(rank, this.#host(this.#hostOf(rank)), collective.member(rank)),
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

  #on(event: Flight | WorkerEvent): void {
    switch (event.stage) {
      case 'computed':
        this.#onComputed(event.worker);
        break;
      case 'idle':
        this.#onIdle(event.worker);
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
    const { numBuckets } = this.#options.collective;
    for (let bucket = 0; bucket < numBuckets; bucket++) {
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
    const seconds = this.#perform(worker, worker.take());
    worker.busySeconds += seconds;
    this.#events.push(this.#now + seconds, this.#order(orderOfStage.idle, 0, worker.rank), worker.idle);
  }

  /** How long a job takes; what it sends leaves meanwhile. */
  #perform(worker: Worker, job: Job): number {
    const { observer, network } = this.#options;
    const { step } = worker.member;
    const works = job.stage === 'ready' ? worker.member.ready(job.step, job.bucket) : this.#receive(worker, job);
    let seconds = job.stage === 'ready' ? 0 : this.#frameSeconds(job.payloadBytes);
    for (const work of works) {
      observer?.onWork?.(worker.rank, step, work);
      if (work.type === 'send') {
        seconds += this.#frameSeconds(work.payloadBytes);
        this.#send(worker, step, work.send, work.payloadBytes, this.#now + seconds);
      } else if (work.type === 'sum') seconds += work.numBytes * network.costs.sumByteSeconds;
      else if (work.type === 'apply') seconds += work.numBytes * network.costs.applyByteSeconds;
      else this.#commit(worker, this.#now + seconds);
    }
    return seconds;
  }

  #receive(worker: Worker, flight: Flight): readonly Work[] {
    worker.framesReceived += 1;
    this.#options.observer?.onReceived?.(flight);
    const { from, step, send } = flight;
    return worker.member.receive(this.#options.collective.arrival(send, step, from, this.#senderSeen(flight)));
  }

  #send(worker: Worker, step: number, send: Send, payloadBytes: number, time: number): void {
    const flight = new Flight(worker.rank, send.to, step, send, payloadBytes, worker.framesSent);
    worker.framesSent += 1;
    worker.payloadBytesSent += payloadBytes;
    this.#options.observer?.onSent?.(flight);
    this.#schedule(flight, 'leaves', time);
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
      this.#schedule(flight, 'arrives', sender.host.copy(this.#now, flight.numBytes) + localLatencySeconds);
      return;
    }
    sender.host.payloadBytesOut += flight.payloadBytes;
    this.#receivingHost(flight).payloadBytesIn += flight.payloadBytes;
    this.#schedule(flight, 'at-card', sender.host.sendOut(this.#now, flight.numBytes) + latencySeconds);
  }

  #schedule(flight: Flight, stage: Flight['stage'], time: number): void {
    flight.stage = stage;
    const { workersPerHost } = this.#options.network;
    const place = this.#hostsFurther(flight) * workersPerHost + (flight.from % workersPerHost);
    this.#events.push(time, this.#order(orderOfStage[stage], flight.number, place), flight);
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

  /** The sender in the eyes of the receiver: where one host stands for all, the twin that is as far before it. */
  #senderSeen(frame: Frame): number {
    if (!this.#mirrored) return frame.from;
    const { workersPerHost } = this.#options.network;
    const host = (this.#numHosts - this.#hostsFurther(frame)) % this.#numHosts;
    return host * workersPerHost + (frame.from % workersPerHost);
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

  #frameSeconds(payloadBytes: number): number {
    const { frameSeconds, byteSeconds } = this.#options.network.costs;
    return frameSeconds + payloadBytes * byteSeconds;
  }
}
