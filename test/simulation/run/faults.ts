/** Lets a fault befall a simulated run. */
import type { DiskFate } from './run-folder.js';
import type { FaultKind } from './schedule.js';
import type { Worker } from './worker.js';
import type { World } from './world.js';

/** They cost no worker, and no step. */
const ofCoordinator: readonly FaultKind['type'][] = ['crash-coordinator', 'replace-coordinator', 'slow-disk'];

/** Returns how long it lasts. */
export function applyFault(world: World, fault: FaultKind): number {
  if (!ofCoordinator.includes(fault.type)) world.invariants.onDisturbed();
  const { clock, disk, network, launcher, command } = world;
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
      const process = fault.place === 0 ? command.coordinator.process : launcher.at(fault.place)?.process;
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
      stopRun(world);
      return 0;
    case 'crash-coordinator':
      return command.crash({ ...fault, fate: fateOf(world, fault.fate) });
    case 'replace-coordinator':
      return command.replace({ ...fault, fate: fateOf(world, fault.fate) });
  }
}

/** A command that has workers of its own shares their host, and has no run without its directory. */
function fateOf({ setting }: World, fate: DiskFate): DiskFate {
  return setting.isTrain ? 'kept' : fate;
}

function stopRun(world: World): void {
  const { coordinator } = world.command;
  if (coordinator.process.isDead) return;
  world.isStopped = true;
  coordinator.process.run(() => {
    coordinator.stop();
  });
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
