/** Reads the wire format of Protocol Buffers, as far as scalars in messages need it. Every method throws RangeError where the bytes end too soon. */
const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;
const MAX_VARINT_BYTES = 10;

export class WireReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** The number of the next field, and how it is written. */
  tag(): { field: number; wireType: number } {
    const tag = Number(BigInt.asUintN(32, this.int64()));
    return { field: tag >>> 3, wireType: tag & 7 };
  }

  /** A varint as a signed number: `int64`, and `int32`, which is written in as many bytes. */
  int64(): bigint {
    let value = 0n;
    for (let index = 0; index < MAX_VARINT_BYTES; index += 1) {
      const byte = this.#bytes.readUInt8(this.#at);
      this.#at += 1;
      value |= BigInt(byte & 0x7f) << BigInt(7 * index);
      if (byte < 0x80) return BigInt.asIntN(64, value);
    }
    throw new RangeError('a number has no end');
  }

  double(): number {
    this.#at += 8;
    return this.#bytes.readDoubleLE(this.#at - 8);
  }

  float(): number {
    this.#at += 4;
    return this.#bytes.readFloatLE(this.#at - 4);
  }

  /** A text, a message inside this one, or packed numbers. */
  bytes(): Buffer {
    const length = Number(this.int64());
    if (length < 0 || this.#at + length > this.#bytes.length) throw new RangeError('a field is longer than its message');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** Passes over the value of a field. */
  skip(wireType: number): void {
    switch (wireType) {
      case VARINT:
        this.int64();
        return;
      case FIXED64:
        this.double();
        return;
      case LENGTH_DELIMITED:
        this.bytes();
        return;
      case FIXED32:
        this.float();
        return;
      default:
        throw new RangeError(`a field is written in an unknown way: ${wireType}`);
    }
  }
}
