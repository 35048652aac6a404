/** The scalars in one record of a TensorBoard event file: TensorFlow's `Event` message, of which only what scalars need is read. */
import { WireReader } from './protobuf-wire.ts';

export interface TensorboardScalar {
  tag: string;
  value: number;
}

export interface TensorboardEvent {
  /** As it is written, possibly negative or beyond what is exact. */
  step: number;
  /** Unix seconds. */
  wallTime: number;
  scalars: TensorboardScalar[];
}

/** TensorFlow's numbers of the types that a scalar comes in. */
const FLOAT = 1;
const DOUBLE = 2;
const INT32 = 3;
const INT64 = 9;

/** Reads fields until the end, handing each to `take`, which answers whether it has read it. */
function readFields(bytes: Buffer, take: (field: number, reader: WireReader) => boolean): void {
  const reader = new WireReader(bytes);
  while (!reader.isAtEnd) {
    const { field, wireType } = reader.tag();
    if (!take(field, reader)) reader.skip(wireType);
  }
}

/** Throws when the bytes are no such message. Images, texts, histograms and whatever else is no single number are passed over. */
export function decodeEvent(bytes: Buffer): TensorboardEvent {
  const event: TensorboardEvent = { step: 0, wallTime: 0, scalars: [] };
  readFields(bytes, (field, reader) => {
    if (field === 1) event.wallTime = reader.double();
    else if (field === 2) event.step = Number(reader.int64());
    else if (field === 5) readFields(reader.bytes(), (inner, summary) => inner === 1 && takeValue(summary.bytes(), event.scalars));
    else return false;
    return true;
  });
  return event;
}

function takeValue(bytes: Buffer, scalars: TensorboardScalar[]): true {
  let tag = '';
  let value: number | null = null;
  readFields(bytes, (field, reader) => {
    if (field === 1) tag = reader.bytes().toString('utf8');
    else if (field === 2) value = reader.float();
    else if (field === 8) value = decodeTensor(reader.bytes());
    else return false;
    return true;
  });
  if (value !== null) scalars.push({ tag, value });
  return true;
}

/** The number in a tensor without dimensions; null for any other. */
function decodeTensor(bytes: Buffer): number | null {
  let type = 0;
  let hasDimensions = false;
  let content: Buffer | null = null;
  const values: number[] = [];
  const packed = (reader: WireReader, read: (each: WireReader) => number): void => {
    const inner = new WireReader(reader.bytes());
    while (!inner.isAtEnd) values.push(read(inner));
  };
  readFields(bytes, (field, reader) => {
    if (field === 1) type = Number(reader.int64());
    else if (field === 2) hasDimensions = reader.bytes().length > 0;
    else if (field === 4) content = reader.bytes();
    else if (field === 5) packed(reader, (each) => each.float());
    else if (field === 6) packed(reader, (each) => each.double());
    else if (field === 7) packed(reader, (each) => Number(each.int64()));
    else if (field === 10) packed(reader, (each) => Number(each.int64()));
    else return false;
    return true;
  });
  if (hasDimensions) return null;
  return values[0] ?? (content === null ? null : fromContent(type, content));
}

function fromContent(type: number, content: Buffer): number | null {
  if (type === FLOAT && content.length === 4) return content.readFloatLE();
  if (type === DOUBLE && content.length === 8) return content.readDoubleLE();
  if (type === INT32 && content.length === 4) return content.readInt32LE();
  if (type === INT64 && content.length === 8) return Number(content.readBigInt64LE());
  return null;
}
