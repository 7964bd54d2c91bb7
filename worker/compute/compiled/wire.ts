/**
 * Writes messages in protobuf's wire format (https://protobuf.dev/programming-guides/encoding). By hand, as a graph needs
 * six message types and three kinds of fields: generated code for them is ten times this, and tfjs-node's own
 * (`proto/api_pb.js`) lacks types and lies outside of what tfjs-node exports.
 */

const wireTypes = { varint: 0, bytes: 2, fixed32: 5 } as const;

/** One message. Fields are written in the order of the calls; each method returns the message. */
export class Message {
  readonly #parts: Uint8Array[] = [];

  /** int32, int64, bool and enums. */
  integer(field: number, value: number | bigint | boolean): this {
    return this.#tag(field, wireTypes.varint).#push(varint(BigInt(value)));
  }

  float(field: number, value: number): this {
    return this.#tag(field, wireTypes.fixed32).#push(new Uint8Array(Float32Array.of(value).buffer));
  }

  bytes(field: number, value: Uint8Array | string): this {
    const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
    return this.#tag(field, wireTypes.bytes)
      .#push(varint(BigInt(bytes.length)))
      .#push(bytes);
  }

  message(field: number, value: Message): this {
    return this.bytes(field, value.encode());
  }

  encode(): Uint8Array {
    return Buffer.concat(this.#parts);
  }

  #tag(field: number, wireType: number): this {
    return this.#push(varint(BigInt(field * 8 + wireType)));
  }

  #push(bytes: Uint8Array): this {
    this.#parts.push(bytes);
    return this;
  }
}

/** Seven bits a byte, least significant first; negative numbers as their 64-bit two's complement. */
function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  do {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    bytes.push(rest > 0n ? low | 0x80 : low);
  } while (rest > 0n);
  return Uint8Array.from(bytes);
}
