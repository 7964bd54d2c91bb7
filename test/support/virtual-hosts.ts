/**
 * Hosts made of network namespaces (ip-netns(8)), each with a network card, on one switch. They have the file system in common,
 * and names of their own. Their names begin with this process's id, so that those of a process that died are found and removed.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { isRunning } from './process-end.js';
import { VirtualSwitch } from './virtual-switch.js';

export type HostName = string;

const prefix = `lockstep-${process.pid}-`;
/** Where all cables end. */
const wires = `${prefix}wires`;
const uplinkOf = (pid: number): string => `lsw${pid}`;
const uplink = uplinkOf(process.pid);
const cardName = 'eth0';

const ip = (...args: readonly string[]): string => execFileSync('ip', args, { encoding: 'utf8', stdio: 'pipe' });

/** Why there can be no such hosts here; null: there can. */
export function lackOfHosts(): string | null {
  if (process.getuid?.() !== 0) return 'it takes root';
  removeStale();
  try {
    ip('netns', 'add', wires);
    ip('-n', wires, 'link', 'add', cardName, 'type', 'vxlan', 'id', '1', 'dstport', '4789');
    return null;
  } catch (error) {
    return `it takes network namespaces with VXLAN, and iproute2: ${String(error).split('\n').join(' ')}`;
  } finally {
    spawnSync('ip', ['netns', 'del', wires]);
  }
}

interface UplinkAddresses {
  readonly here: string;
  readonly there: string;
}

/** A link of two addresses in 198.18.0.0/16, which is for such tests (RFC 2544), and another one for each process. */
function uplinkAddresses(): UplinkAddresses {
  const first = (process.pid % (65_536 / 4)) * 4;
  const address = (host: number): string => `198.18.${(first + host) >>> 8}.${(first + host) & 0xff}`;
  return { here: address(1), there: address(2) };
}

/** Between this host's network and the wires. */
function layUplink({ here, there }: UplinkAddresses): void {
  ip('netns', 'add', wires);
  ip('link', 'add', uplink, 'type', 'veth', 'peer', 'name', uplink, 'netns', wires);
  ip('address', 'add', `${here}/30`, 'dev', uplink);
  ip('link', 'set', uplink, 'up');
  ip('-n', wires, 'address', 'add', `${there}/30`, 'dev', uplink);
  ip('-n', wires, 'link', 'set', uplink, 'up');
}

export class VirtualHosts {
  readonly network: VirtualSwitch;
  readonly #names: readonly HostName[];

  private constructor(names: readonly HostName[], network: VirtualSwitch) {
    this.#names = names;
    this.network = network;
  }

  /** Leaves nothing behind where it fails. */
  static async make(...names: readonly HostName[]): Promise<VirtualHosts> {
    const addresses = uplinkAddresses();
    let network: VirtualSwitch | null = null;
    try {
      layUplink(addresses);
      network = await VirtualSwitch.plugIn(addresses.here);
      const hosts = new VirtualHosts(names, network);
      for (const name of names) hosts.#add(name, addresses.here);
      return hosts;
    } catch (error) {
      network?.close();
      removeOwn();
      throw error;
    }
  }

  /** Before a command that is to run on that host. */
  on(name: HostName): readonly string[] {
    return ['ip', 'netns', 'exec', prefix + name];
  }

  address(name: HostName): string {
    return `10.77.0.${this.number(name)}`;
  }

  /** As the switch knows it. */
  number(name: HostName): number {
    return this.#names.indexOf(name) + 1;
  }

  /** Its network card is off: it knows that it has no network, and its connections do not. */
  unplug(name: HostName): void {
    ip('-n', prefix + name, 'link', 'set', cardName, 'down');
  }

  plugIn(name: HostName): void {
    ip('-n', prefix + name, 'link', 'set', cardName, 'up');
  }

  /** Nothing comes through between this host and all others, and nobody is told. */
  isolate(name: HostName): void {
    this.deafen(name);
    this.silence(name);
  }

  /** Nothing comes to it. */
  deafen(name: HostName): void {
    for (const other of this.#names) this.network.cut(this.number(other), this.number(name));
  }

  /** Nothing comes from it. */
  silence(name: HostName): void {
    for (const other of this.#names) this.network.cut(this.number(name), this.number(other));
  }

  /** Nothing comes through between these two. */
  part(one: HostName, other: HostName): void {
    this.network.cut(this.number(one), this.number(other));
    this.network.cut(this.number(other), this.number(one));
  }

  close(): void {
    this.network.close();
    removeOwn();
  }

  /** The card is made where the wires are, to which its datagrams go, and handed to the host. */
  #add(name: HostName, switchAddress: string): void {
    const namespace = prefix + name;
    const number = this.number(name);
    const { port } = this.network;
    ip('netns', 'add', namespace);
    const mac = `02:00:00:00:00:${number.toString(16).padStart(2, '0')}`;
    const vxlan = ['type', 'vxlan', 'id', `${number}`, 'remote', switchAddress, 'dstport', `${port}`, 'nolearning'];
    ip('-n', wires, 'link', 'add', `card${number}`, 'address', mac, ...vxlan);
    ip('-n', wires, 'link', 'set', `card${number}`, 'netns', namespace, 'name', cardName);
    // A frame of the size that a datagram can have, and no larger one.
    ip('-n', namespace, 'link', 'set', cardName, 'gso_max_segs', '1');
    ip('-n', namespace, 'address', 'add', `${this.address(name)}/24`, 'dev', cardName);
    ip('-n', namespace, 'link', 'set', cardName, 'up');
    ip('-n', namespace, 'link', 'set', 'lo', 'up');
    this.network.add(number);
  }
}

function removeOwn(): void {
  removeNamespaces((pid) => pid === process.pid);
}

/** Of processes that were killed before they could. */
function removeStale(): void {
  removeNamespaces((pid) => !isRunning(pid));
}

function removeNamespaces(isOf: (pid: number) => boolean): void {
  const { stdout } = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' });
  for (const [name, digits] of stdout.matchAll(/^lockstep-(\d+)-\w+/gm)) {
    const pid = Number(digits);
    if (!isOf(pid)) continue;
    spawnSync('ip', ['link', 'del', uplinkOf(pid)]); // would go with its other end, but later
    spawnSync('ip', ['netns', 'del', name]);
  }
}
