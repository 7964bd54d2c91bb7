/**
 * A network switch in this process, for hosts that are network namespaces: their frames come in as VXLAN datagrams
 * (RFC 7348), one VXLAN network for each host, and leave for the host that they are meant for, or not, or later. All between
 * two hosts but the cable is the kernel's.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { uniformNumbers } from '../../bench/scale/random.js';

const headerBytes = 8;
/** Where the number of the VXLAN network is, three bytes. */
const networkAt = 4;
/** Of a frame's destination, last: hosts have the MAC addresses 02:00:00:00:00:NUMBER. */
const macEnd = headerBytes + 5;
const broadcast = 0xff;

/** What a cable does to frames. */
export interface Weather {
  /** One way. */
  readonly delayMs: number;
  /** Of 1. */
  readonly loss: number;
}

const calm: Weather = { delayMs: 0, loss: 0 };

export class VirtualSwitch {
  readonly port: number;
  readonly #socket: Socket;
  /** By number. */
  readonly #hosts = new Set<number>();
  readonly #cuts = new Set<string>();
  readonly #random = uniformNumbers(1);
  #weather = calm;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.port = socket.address().port;
    socket.on('message', (datagram, from) => {
      this.#onFrame(datagram, from);
    });
    socket.on('error', () => undefined); // a cable that is pulled out; what it carried is lost
  }

  static async plugIn(address: string): Promise<VirtualSwitch> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
    socket.bind(0, address);
    await once(socket, 'listening');
    return new VirtualSwitch(socket);
  }

  add(host: number): void {
    this.#hosts.add(host);
  }

  /** From now on nothing comes from the one to the other. */
  cut(from: number, to: number): void {
    this.#cuts.add(`${from} ${to}`);
  }

  /** As at the begin. */
  mend(): void {
    this.#cuts.clear();
    this.#weather = calm;
  }

  /** Of all cables. */
  set weather(weather: Partial<Weather>) {
    this.#weather = { ...calm, ...weather };
  }

  close(): void {
    this.#socket.close();
  }

  #onFrame(datagram: Buffer, { address }: RemoteInfo): void {
    const from = datagram.readUIntBE(networkAt, 3);
    const to = datagram[macEnd] ?? broadcast;
    fillChecksum(datagram.subarray(headerBytes));
    for (const host of to === broadcast ? this.#hosts : [to]) {
      if (host === from || this.#cuts.has(`${from} ${host}`) || this.#random() < this.#weather.loss) continue;
      const frame = Buffer.from(datagram);
      frame.writeUIntBE(host, networkAt, 3);
      const { delayMs } = this.#weather;
      if (delayMs === 0) this.#socket.send(frame, this.port, address);
      else
        setTimeout(() => {
          this.#socket.send(frame, this.port, address);
        }, delayMs);
    }
  }
}

const ipv4At = 14;
const tcp = 6;

/** The kernel leaves the checksum of TCP (RFC 9293 section 3.1) to the network card, for which this switch stands. */
function fillChecksum(frame: Buffer): void {
  if (frame.readUInt16BE(12) !== 0x0800 || frame[ipv4At + 9] !== tcp) return;
  const end = ipv4At + frame.readUInt16BE(ipv4At + 2);
  const tcpAt = ipv4At + ((frame[ipv4At] ?? 0) & 0xf) * 4;
  frame.writeUInt16BE(0, tcpAt + 16);
  // Of the addresses, the protocol, the length, and all of the segment.
  let sum = tcp + (end - tcpAt);
  for (let at = ipv4At + 12; at < ipv4At + 20; at += 2) sum += frame.readUInt16BE(at);
  for (let at = tcpAt; at + 1 < end; at += 2) sum += frame.readUInt16BE(at);
  if ((end - tcpAt) % 2 === 1) sum += frame.readUInt8(end - 1) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  frame.writeUInt16BE(~sum & 0xffff, tcpAt + 16);
}
