/**
 * What an all-reduce costs by arithmetic alone, to hold the simulation against. It knows neither the machine nor the
 * plan: N workers on H hosts of G, B bytes in buckets, each rank with an equal chunk of a bucket.
 */
import { defaultHopBytes } from '../../src/collective/routes.js';
import type { Network } from './network.js';
import { frameOverheadBytes } from './simulation.js';

export interface Payload {
  /** Batched: two levels, where a worker sends a host's other worker all chunks of its place in one frame. Not built. */
  readonly levels: 'flat' | 'two-level' | 'batched';
  /** The owner of a chunk makes its new weights. @default false */
  readonly isSharded?: boolean;
  readonly numWorkers: number;
  readonly numBytes: number;
  readonly bucketBytes: number;
}

export interface Prediction {
  readonly seconds: number;
  readonly cardSeconds: number;
  readonly threadSeconds: number;
  readonly busSeconds: number;
  /** Of the optimizer or of copying new weights, and of sums that everyone makes for itself: after all else. */
  readonly updateSeconds: number;
  /** Each card, in each direction, without headers. */
  readonly cardBytes: number;
  /** Each worker sends so many, and receives as many. */
  readonly numFrames: number;
}

/** What one worker sends in a bucket, in all hops together. */
interface Traffic {
  readonly framesLocal: number;
  readonly framesRemote: number;
  readonly bytesLocal: number;
  readonly bytesRemote: number;
  /** What additions write before the last hop, and after it. */
  readonly bytesSummed: number;
  readonly bytesSummedAtEnd: number;
  readonly hops: number;
}

/**
 * wake + max(card, thread, memory) + hops · (latency − (frames of a hop − 1) · frame + wake) + update, where the third term
 * counts if the latency is longer than what it is reduced by: while a thread is busy with the frames of a hop, the first of
 * them arrive.
 */
export function predict(network: Network, payload: Payload): Prediction {
  const total = bucketSizes(payload)
    .map((numBytes) => trafficOf(network, payload, numBytes))
    .reduce(add);
  return timeOf(network, payload, total);
}

/** The buckets, all but the last of one size. */
function bucketSizes({ numBytes, bucketBytes }: Payload): number[] {
  const numBuckets = Math.ceil(numBytes / bucketBytes);
  return Array.from({ length: numBuckets }, (_, i) => Math.min(bucketBytes, numBytes - i * bucketBytes));
}

function trafficOf({ workersPerHost }: Network, { numWorkers, levels, isSharded }: Payload, numBytes: number): Traffic {
  const numOnHost = Math.min(workersPerHost, numWorkers);
  const numPeers = numWorkers - 1;
  const local = numOnHost - 1;
  const remote = numPeers - local;
  const chunk = numBytes / numWorkers;
  // Exchanged where that sends few bytes more than the direct route: everyone sends everyone all, once.
  if (isSharded !== true && numPeers * numBytes - 2 * numPeers * chunk <= defaultHopBytes) {
    return { ...frames(local, remote, numBytes), bytesSummed: 0, bytesSummedAtEnd: numPeers * numBytes, hops: 1 };
  }
  const sums = { bytesSummed: numPeers * chunk, bytesSummedAtEnd: 0 };
  // Direct: a chunk for everyone, twice. Each route sends as many results as partials.
  if (levels === 'flat' || numOnHost === 1 || remote === 0) {
    return { ...frames(2 * local, 2 * remote, chunk), ...sums, hops: 2 };
  }
  // Two levels: inside the host all chunks but those of one's own place in it, across hosts those of that place.
  const numHosts = numWorkers / numOnHost;
  const inside = numWorkers - numHosts;
  const traffic = { ...frames(2 * inside, 2 * (numHosts - 1), chunk), ...sums, hops: 4 };
  return levels === 'batched' ? { ...traffic, framesLocal: 2 * local } : traffic;
}

function frames(
  local: number,
  remote: number,
  numBytes: number,
): Omit<Traffic, 'bytesSummed' | 'bytesSummedAtEnd' | 'hops'> {
  return {
    framesLocal: local,
    framesRemote: remote,
    bytesLocal: local * numBytes,
    bytesRemote: remote * numBytes,
  };
}

function add(a: Traffic, b: Traffic): Traffic {
  return {
    framesLocal: a.framesLocal + b.framesLocal,
    framesRemote: a.framesRemote + b.framesRemote,
    bytesLocal: a.bytesLocal + b.bytesLocal,
    bytesRemote: a.bytesRemote + b.bytesRemote,
    bytesSummed: a.bytesSummed + b.bytesSummed,
    bytesSummedAtEnd: a.bytesSummedAtEnd + b.bytesSummedAtEnd,
    hops: Math.max(a.hops, b.hops),
  };
}

function timeOf(network: Network, { numWorkers, numBytes, isSharded }: Payload, traffic: Traffic): Prediction {
  const { workersPerHost, coresPerHost, costs } = network;
  const { framesLocal, framesRemote, bytesLocal, bytesRemote, hops } = traffic;
  const onHost = Math.min(workersPerHost, numWorkers);
  const threadsPerCore = Math.max(1, onHost / coresPerHost);
  const numFrames = framesLocal + framesRemote;
  const copiedLocal = network.localPayload === 'copied' ? bytesLocal : 0;
  const wire = (frames: number, bytes: number): number => onHost * (bytes + frames * frameOverheadBytes);
  const cardSeconds = wire(framesRemote, bytesRemote) / network.cardBytesPerSecond;
  const busSeconds = wire(framesLocal, copiedLocal) / network.busBytesPerSecond;
  const applySeconds = numBytes * costs.applyByteSeconds;
  const threadSeconds =
    threadsPerCore *
    (2 * numFrames * costs.frameSeconds +
      2 * (copiedLocal + bytesRemote) * costs.byteSeconds +
      traffic.bytesSummed * costs.sumByteSeconds +
      (isSharded === true ? applySeconds / numWorkers : 0));
  const updateSeconds =
    threadsPerCore *
    (traffic.bytesSummedAtEnd * costs.sumByteSeconds +
      (isSharded === true ? numBytes * costs.sumByteSeconds : applySeconds));
  const latency = framesRemote > 0 ? network.latencySeconds : network.localLatencySeconds;
  const hidden = Math.max(0, numFrames / hops - 1) * costs.frameSeconds;
  const waitedSeconds = hops * (latency > hidden ? latency - hidden + costs.wakeSeconds : 0);
  const transferSeconds = Math.max(cardSeconds, threadSeconds, busSeconds);
  const seconds = costs.wakeSeconds + transferSeconds + waitedSeconds + updateSeconds;
  const cardBytes = onHost * bytesRemote;
  return { seconds, cardSeconds, threadSeconds, busSeconds, updateSeconds, cardBytes, numFrames };
}
