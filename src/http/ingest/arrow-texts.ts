/** Columns of texts whose places in memory overlap: a few bytes could be read as many texts of many megabytes, one for each row. */
import type { Data, RecordBatch } from 'apache-arrow';
import { MAX_BODY_BYTES } from './arrow-messages.ts';

/** Views may share their bytes, and those of the same text do. */
const MAX_VIEWED_BYTES = 4 * MAX_BODY_BYTES;
const VIEW_BYTES = 16;

/** Looks at each dictionary once, however many batches refer to it. */
export class TextChecks {
  readonly #seen = new WeakSet<Data>();

  /** Throws an Error where texts of a column overlap. */
  check(batch: RecordBatch, columns: readonly string[]): void {
    for (const name of columns) for (const data of batch.getChild(name)?.data ?? []) this.#checkData(data);
  }

  #checkData(data: Data): void {
    if (this.#seen.has(data)) return;
    this.#seen.add(data);
    for (const part of data.dictionary?.data ?? []) this.#checkData(part);
    if (!areInOrder(data) || viewedBytes(data) > MAX_VIEWED_BYTES) throw new Error('texts of a column overlap');
  }
}

/** Texts that lie one behind the other; what fills the buffer up behind the last place counts for nothing. */
function areInOrder({ valueOffsets, length }: Data): boolean {
  let last: number | bigint = 0;
  for (const offset of valueOffsets?.subarray(0, length + 1) ?? []) {
    if (offset < last) return false;
    last = offset;
  }
  return true;
}

function viewedBytes({ variadicBuffers, values, length }: Data): number {
  if (!variadicBuffers?.length) return 0;
  const views = new DataView(values.buffer, values.byteOffset, values.byteLength);
  let sum = 0;
  for (let row = 0; row < length; row += 1) sum += Math.max(0, views.getInt32(row * VIEW_BYTES, true));
  return sum;
}
