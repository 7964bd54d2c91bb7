/**
 * What an all-reduce costs by arithmetic alone, to hold the simulation against. It knows neither the machine nor the
 * plan: N workers on H hosts of G, B bytes in K buckets, each rank with an equal chunk.
 */
import type { Network } from './network.js';
import { frameOverheadBytes } from './simulation.js';

export interface Payload {
  readonly numWorkers: number;
  readonly numBytes: number;
  readonly numBuckets: number;
}

export interface Prediction {
  /** The largest of the three, and the latency that no work hides. */
  readonly seconds: number;
  readonly cardSeconds: number;
  readonly threadSeconds: number;
  readonly busSeconds: number;
  /** Each card, in each direction, without headers. */
  readonly cardBytes: number;
  /** Each worker sends so many, and receives as many. */
  readonly numFrames: number;
}

/** What one worker sends to each kind of peer: chunks and frames, in both halves together. */
interface Traffic {
  readonly framesLocal: number;
  readonly framesRemote: number;
  readonly bytesLocal: number;
  readonly bytesRemote: number;
  /** Bytes that its additions write. */
  readonly bytesSummed: number;
  readonly hops: number;
}

/**
 * The direct route: everyone sends everyone a chunk of B/N twice, as a partial and as a sum. Time is
 * max(card, thread, memory) + 2 · max(0, latency − (N−2) · frame): while a thread is busy with N−1 frames, the first of
 * them arrive.
 */
export function predictFlat(network: Network, payload: Payload): Prediction {
  const { numWorkers, numBytes, numBuckets } = payload;
  const onHost = Math.min(network.workersPerHost, numWorkers);
  const local = onHost - 1;
  const remote = numWorkers - onHost;
  const chunk = numBytes / numWorkers;
  return predict(network, payload, {
    framesLocal: 2 * numBuckets * local,
    framesRemote: 2 * numBuckets * remote,
    bytesLocal: 2 * chunk * local,
    bytesRemote: 2 * chunk * remote,
    bytesSummed: chunk * (numWorkers - 1),
    hops: 2,
  });
}

function predict(network: Network, { numWorkers, numBytes }: Payload, traffic: Traffic): Prediction {
  const { workersPerHost, coresPerHost, costs } = network;
  const { framesLocal, framesRemote, bytesLocal, bytesRemote, bytesSummed, hops } = traffic;
  const onHost = Math.min(workersPerHost, numWorkers);
  const numFrames = framesLocal + framesRemote;
  const cardBytes = onHost * bytesRemote;
  const wire = (frames: number, bytes: number): number => onHost * (bytes + frames * frameOverheadBytes);
  const cardSeconds = wire(framesRemote, bytesRemote) / network.cardBytesPerSecond;
  const busSeconds = wire(framesLocal, bytesLocal) / network.busBytesPerSecond;
  const work =
    2 * numFrames * costs.frameSeconds +
    2 * (bytesLocal + bytesRemote) * costs.byteSeconds +
    bytesSummed * costs.sumByteSeconds +
    numBytes * costs.applyByteSeconds;
  const threadSeconds = work * Math.max(1, onHost / coresPerHost);
  const latency = framesRemote > 0 ? network.latencySeconds : network.localLatencySeconds;
  const hidden = Math.max(0, numFrames / hops - 1) * costs.frameSeconds;
  const seconds = Math.max(cardSeconds, threadSeconds, busSeconds) + hops * Math.max(0, latency - hidden);
  return { seconds, cardSeconds, threadSeconds, busSeconds, cardBytes, numFrames };
}
