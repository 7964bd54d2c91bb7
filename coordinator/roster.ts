/** Ranks and slots of the next generation. */
import { assignSlots, reassignSlots, type SlotRange } from '../src/collective/assignment.js';
import { assert } from '../src/errors.js';
import type { RosterEntry } from '../src/protocol/messages.js';
import type { Member } from './membership-state.js';

/**
 * With a newcomer, or without an older generation: ranks by host, then in the order of the workers' ids, and even shares.
 * After losses alone the ranks close up, and no slot moves but those of the lost.
 */
export function nextRoster(
  numSlots: number,
  workers: readonly Member[],
  previous: readonly RosterEntry[],
): RosterEntry[] {
  const byId = new Map(workers.map((worker) => [worker.workerId, worker]));
  const survivors = previous.flatMap(({ workerId }) => byId.get(workerId) ?? []);
  if (survivors.length < workers.length) return seat(byHost(workers), assignSlots(numSlots, workers.length));
  const isLost = previous.map(({ workerId }) => !byId.has(workerId));
  return seat(survivors, reassignSlots(previous, isLost));
}

/** Slots that another worker holds than before. */
export function countMovedSlots(before: readonly RosterEntry[], after: readonly RosterEntry[]): number {
  const kept = after.map(({ workerId, firstSlot, endSlot }) => {
    const had = before.find((entry) => entry.workerId === workerId);
    return had ? Math.max(0, Math.min(endSlot, had.endSlot) - Math.max(firstSlot, had.firstSlot)) : 0;
  });
  return (after.at(-1)?.endSlot ?? 0) - kept.reduce((sum, num) => sum + num, 0);
}

function seat(workers: readonly Member[], ranges: readonly SlotRange[]): RosterEntry[] {
  return workers.map(({ workerId, host, addresses, heldStep }, rank) => {
    const range = ranges[rank];
    assert(range && addresses, `worker ${workerId} has no slots or no addresses`);
    const { firstSlot, endSlot } = range;
    return { workerId, rank, host, firstSlot, endSlot, addresses, step: heldStep };
  });
}

/** Hosts in the order of their first worker, so that the slots of a host are neighbours. */
function byHost(workers: readonly Member[]): Member[] {
  const hosts = new Map<string, Member[]>();
  for (const worker of workers.toSorted((a, b) => (a.workerId < b.workerId ? -1 : 1))) {
    const hostId = worker.addresses?.hostId ?? '';
    hosts.set(hostId, [...(hosts.get(hostId) ?? []), worker]);
  }
  return [...hosts.values()].flat();
}
