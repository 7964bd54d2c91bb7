/**
 * The ways that partials and results take between ranks. A chunk has one of these:
 *
 *   direct     everyone sends its partials to the chunk's owner, which sums and sends the result to all: 2 hops
 *   two-level  workers of one host send theirs to the one of them that has the owner's place in its host; that one sums
 *              the host's and sends them to the owner; the result comes back the same way: 4 hops, and each network card
 *              carries each gradient once
 *   exchange   everyone sends its partials to everyone, and each sums for itself: 1 hop, and more bytes
 */
import type { Hosts } from './hosts.js';
import type { TreeNode } from './tree.js';
import type { WireFormat } from './wire.js';

/** What one rank takes in and passes on of a chunk. */
export interface Route {
  /** Who sends this rank partials, by tree node. */
  readonly partialsFrom: ReadonlyMap<number, number>;
  /** To whom this rank sends partials, the next rank first: so that not all send to the same one at once. */
  readonly partialsTo: readonly number[];
  /** The tree nodes whose partials it sends. */
  readonly nodes: readonly TreeNode[];
  /** Whether these are sums with what it takes in, so that they are sent when that is here. */
  readonly isRelay: boolean;
  /** Who sends it the result; null: it sums. */
  readonly resultFrom: number | null;
  /** To whom it sends the result. */
  readonly resultTo: readonly number[];
}

/** What the routes of a generation are made of. */
export interface RouteSetting {
  readonly rank: number;
  /** The fewest tree nodes that hold each rank's slots, by rank. */
  readonly nodesByRank: readonly (readonly TreeNode[])[];
  readonly wire: WireFormat;
}

/** As many bytes as one hop less is worth: about what a link of 10 GB/s carries while a process is woken. */
export const defaultHopBytes = 384 * 1024;

/** A larger bucket costs more to sum everywhere than a hop does, even where it is the same bytes. */
export const maxExchangedBytes = 64 * 1024;

/**
 * Whether a bucket of `bytes` is exchanged: a small one, where that makes the busiest worker send at most `hopBytes` more
 * than the direct way. With up to 8 workers of one tree node each, all of up to 64 KiB are.
 */
export function isExchanged({ nodesByRank, wire }: RouteSetting, bytes: number, hopBytes = defaultHopBytes): boolean {
  const worldSize = nodesByRank.length;
  if (worldSize === 1) return true;
  if (bytes > maxExchangedBytes) return false;
  const half = wire === 'bfloat16' ? 0.5 : 1;
  const partials = nodesByRank.map((nodes) => nodes.reduce((sum, { children }) => sum + (children ? 1 : half), 0));
  const exchanged = (worldSize - 1) * Math.max(...partials);
  const direct = ((worldSize - 1) / worldSize) * (Math.max(...partials) + half);
  return (exchanged - direct) * bytes <= hopBytes;
}

export function exchangeRoute(setting: RouteSetting): Route {
  return {
    partialsFrom: senders(setting, othersOf(setting)),
    partialsTo: othersOf(setting),
    nodes: ownNodes(setting),
    isRelay: false,
    resultFrom: null,
    resultTo: [],
  };
}

export function directRoute(setting: RouteSetting, owner: number): Route {
  if (owner !== setting.rank) return leafRoute(setting, owner);
  const others = othersOf(setting);
  return ownerRoute(senders(setting, others), others);
}

/** @param nodesByHost the fewest tree nodes that hold the slots of each host's workers */
export function twoLevelRoute(
  setting: RouteSetting,
  hosts: Hosts,
  nodesByHost: readonly (readonly TreeNode[])[],
  owner: number,
): Route {
  const { rank } = setting;
  const relays = hosts.ranksLike(owner);
  const ownRelay = relays[hosts.hostOf(rank)] ?? owner;
  if (rank !== ownRelay) return leafRoute(setting, ownRelay);
  const neighbours = hosts.neighboursOf(rank);
  const fromNeighbours = senders(setting, neighbours);
  if (rank !== owner) {
    const nodes = nodesByHost[hosts.hostOf(rank)] ?? [];
    const route = { partialsFrom: fromNeighbours, partialsTo: [owner], nodes, isRelay: true };
    return { ...route, resultFrom: owner, resultTo: neighbours };
  }
  const host = hosts.hostOf(owner);
  const others = [...relays.slice(host + 1), ...relays.slice(0, host)];
  const fromHosts = others.flatMap((relay) =>
    (nodesByHost[hosts.hostOf(relay)] ?? []).map(({ id }) => [id, relay] as const),
  );
  // Other hosts first: they have further to go. The next one first, as everywhere.
  return ownerRoute(new Map([...fromNeighbours, ...fromHosts]), [...others, ...neighbours]);
}

/** Sends its own partials to one rank, and takes the result from it. */
function leafRoute(setting: RouteSetting, to: number): Route {
  const nodes = ownNodes(setting);
  return { partialsFrom: new Map(), partialsTo: [to], nodes, isRelay: false, resultFrom: to, resultTo: [] };
}

function ownerRoute(partialsFrom: ReadonlyMap<number, number>, resultTo: readonly number[]): Route {
  return { partialsFrom, partialsTo: [], nodes: [], isRelay: false, resultFrom: null, resultTo };
}

function senders({ nodesByRank }: RouteSetting, ranks: readonly number[]): ReadonlyMap<number, number> {
  return new Map(ranks.flatMap((rank) => (nodesByRank[rank] ?? []).map(({ id }) => [id, rank] as const)));
}

function othersOf({ rank, nodesByRank }: RouteSetting): number[] {
  const worldSize = nodesByRank.length;
  return Array.from({ length: worldSize - 1 }, (_, i) => (rank + 1 + i) % worldSize);
}

function ownNodes({ rank, nodesByRank }: RouteSetting): readonly TreeNode[] {
  return nodesByRank[rank] ?? [];
}
