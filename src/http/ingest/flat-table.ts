/**
 * Tables of a FlatBuffer, in which Arrow describes its messages. What a buffer says of itself is not trusted: every read beyond its end is a
 * RangeError, and so is a vector that claims more elements than there are bytes for.
 */
export class FlatTable {
  readonly #view: DataView;
  readonly #at: number;

  private constructor(view: DataView, at: number) {
    this.#view = view;
    this.#at = at;
  }

  /** The table that a buffer begins with. */
  static root(bytes: Uint8Array): FlatTable {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return new FlatTable(view, view.getUint32(0, true));
  }

  /** A field of one byte; 0 where it is left out. */
  byte(field: number): number {
    const at = this.#placeOf(field);
    return at === null ? 0 : this.#view.getUint8(at);
  }

  /** A field of eight bytes, exact as far as a number is; 0 where it is left out. */
  long(field: number): number {
    const at = this.#placeOf(field);
    return at === null ? 0 : Number(this.#view.getBigInt64(at, true));
  }

  table(field: number): FlatTable | null {
    const at = this.#placeOf(field);
    return at === null ? null : this.#tableAt(at);
  }

  /** Tables that a vector refers to; none where it is left out. The same one may come twice. */
  *tables(field: number): Generator<FlatTable> {
    const { at, length } = this.#vector(field, 4);
    for (let index = 0; index < length; index += 1) yield this.#tableAt(at + 4 * index);
  }

  /** How many elements a vector (or characters a text) has. */
  lengthOf(field: number, elementBytes: number): number {
    return this.#vector(field, elementBytes).length;
  }

  /** The number at the beginning of each element of a vector of eight bytes and more. */
  *longs(field: number, elementBytes: number): Generator<number> {
    const { at, length } = this.#vector(field, elementBytes);
    for (let index = 0; index < length; index += 1) yield Number(this.#view.getBigInt64(at + elementBytes * index, true));
  }

  #placeOf(field: number): number | null {
    const fields = this.#at - this.#view.getInt32(this.#at, true);
    const entry = 4 + 2 * field;
    const offset = entry < this.#view.getUint16(fields, true) ? this.#view.getUint16(fields + entry, true) : 0;
    return offset === 0 ? null : this.#at + offset;
  }

  #tableAt(at: number): FlatTable {
    return new FlatTable(this.#view, at + this.#view.getUint32(at, true));
  }

  #vector(field: number, elementBytes: number): { at: number; length: number } {
    const place = this.#placeOf(field);
    if (place === null) return { at: 0, length: 0 };
    const start = place + this.#view.getUint32(place, true);
    const length = this.#view.getUint32(start, true);
    if (start + 4 + length * elementBytes > this.#view.byteLength) throw new RangeError('a list goes on beyond the end of the message');
    return { at: start + 4, length };
  }
}
