/**
 * Points that cannot be in the database yet go in by COPY, in its binary form: some three times as fast as INSERT, which would have to look for
 * each one whether it is there.
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { from } from 'pg-copy-streams';
import type { Transaction } from '../database.ts';
import { clientOf } from '../transaction-client.ts';
import type { PointColumns } from './point-columns.ts';

/** Points of one attempt of one series. */
export interface CopiedPoints {
  jobId: string;
  seriesNumber: number;
  attemptNumber: number;
  points: PointColumns;
}

const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
const END = Buffer.from([0xff, 0xff]);
/** Two bytes for the number of columns; of each column four bytes for its length, and itself. */
const ROW_BYTES = 2 + (4 + 16) + (4 + 4) + (4 + 8) + (4 + 4) + (4 + 8) + (4 + 8);
const STEP_AT = 34;
const VALUE_AT = 54;
const TIME_AT = 66;
/** PostgreSQL counts from here. */
const EPOCH_MS = Date.UTC(2000, 0, 1);
const TWO_32 = 2 ** 32;

/** Fails if one of the points is there already. */
export async function copyPoints(transaction: Transaction, series: readonly CopiedPoints[]): Promise<void> {
  if (series.length === 0) return;
  const copy = clientOf(transaction).query(from('copy metric_points (job_id, series_number, step, attempt_number, value, time) from stdin (format binary)'));
  await pipeline(Readable.from([Buffer.concat([SIGNATURE, ...series.map(encode), END])]), copy);
}

function encode({ jobId, seriesNumber, attemptNumber, points: { steps, values, times } }: CopiedPoints): Buffer {
  const bytes = Buffer.allocUnsafe(steps.length * ROW_BYTES);
  const row = rowWithout(jobId, seriesNumber, attemptNumber);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let index = 0, at = 0; index < steps.length; index += 1, at += ROW_BYTES) {
    bytes.set(row, at);
    const step = steps[index]!;
    view.setInt32(at + STEP_AT, Math.floor(step / TWO_32));
    view.setUint32(at + STEP_AT + 4, step >>> 0);
    // -0 becomes 0, as it does where numbers are sent as text.
    view.setFloat64(at + VALUE_AT, values[index]! + 0);
    setMicroseconds(view, at + TIME_AT, times[index]! - EPOCH_MS);
  }
  return bytes;
}

/** What all rows of a series have in common, with room for step, value and time. */
function rowWithout(jobId: string, seriesNumber: number, attemptNumber: number): Buffer {
  const row = Buffer.alloc(ROW_BYTES);
  row.writeInt16BE(6, 0);
  row.writeInt32BE(16, 2);
  row.write(jobId.replaceAll('-', ''), 6, 'hex');
  row.writeInt32BE(4, 22);
  row.writeInt32BE(seriesNumber, 26);
  row.writeInt32BE(8, STEP_AT - 4);
  row.writeInt32BE(4, 42);
  row.writeInt32BE(attemptNumber, 46);
  row.writeInt32BE(8, VALUE_AT - 4);
  row.writeInt32BE(8, TIME_AT - 4);
  return row;
}

/** Exact for every Date, whose microseconds may be more than a number can tell exactly. */
function setMicroseconds(view: DataView, at: number, milliseconds: number): void {
  const high = Math.floor(milliseconds / TWO_32);
  const low = (milliseconds - high * TWO_32) * 1000;
  const carried = Math.floor(low / TWO_32);
  view.setInt32(at, high * 1000 + carried);
  view.setUint32(at + 4, low - carried * TWO_32);
}
