/** Lets a fault befall a simulated run. */
import type { FaultKind } from './schedule.js';
import type { Worker } from './worker.js';
import type { World } from './world.js';

/** Returns how long it lasts. */
export function applyFault(world: World, fault: FaultKind): number {
  const { clock, disk, network, launcher } = world;
  switch (fault.type) {
    case 'crash':
      for (const place of fault.places) launcher.at(place)?.process.die(true);
      return 0;
    case 'vanish':
      launcher.at(fault.place)?.process.die(false);
      return 0;
    case 'hang':
      return hang(world, launcher.at(fault.place), fault.ms);
    case 'stop-process': {
      const process = fault.place === 0 ? world.coordinator.process : launcher.at(fault.place)?.process;
      process?.stop();
      clock.after(fault.ms, () => process?.resume());
      return fault.ms;
    }
    case 'partition':
      return partition(world, fault);
    case 'delay':
      network.delay(fault.from, fault.to, fault.delayMs);
      clock.after(fault.ms, () => {
        network.delay(fault.from, fault.to, 0);
      });
      return fault.ms;
    case 'leave':
      launcher.at(fault.place)?.leave();
      return 0;
    case 'join':
      join(world, fault.place, fault.isDuplicate);
      return 0;
    case 'slow-disk':
      disk.slownessMs = fault.slownessMs;
      return 0;
    case 'torn-write':
      disk.numTorn = fault.count;
      return 0;
    case 'stop-run':
      world.isStopped = true;
      world.coordinator.process.run(() => {
        world.coordinator.stop();
      });
      return 0;
  }
}

function hang({ clock }: World, worker: Worker | undefined, ms: number): number {
  worker?.compute.hang();
  clock.after(ms, () => worker?.process.run(() => worker.compute.goOn()));
  return ms;
}

function partition(
  { clock, network }: World,
  { from, to, bothWays, ms }: Extract<FaultKind, { type: 'partition' }>,
): number {
  const ways = bothWays ? [[from, to] as const, [to, from] as const] : [[from, to] as const];
  if (from === to) return 0;
  for (const [one, other] of ways) network.cut(one, other);
  clock.after(ms, () => {
    for (const [one, other] of ways) network.mend(one, other);
  });
  return ms;
}

/** At a place of its own, beyond those that the launcher keeps. */
const strangersPlace = 9;

function join({ launcher }: World, place: number, isDuplicate: boolean): void {
  const name = isDuplicate ? launcher.at(place)?.workerId : undefined;
  launcher.add(name ?? `x${place}`, strangersPlace);
}
