/** Consecutive points of some series, gathered into columns from what PostgreSQL sends. */

/** Some points, each series' after the other's. */
export interface PointPage {
  /** The series in their order, each with how many of the points are its own. */
  series: { jobId: string; key: string; pointCount: number }[];
  steps: BigInt64Array;
  /** NaN and infinities as they were logged. */
  values: Float64Array;
  /** Milliseconds since 1970. */
  times: BigInt64Array;
  attempts: Int32Array;
}

/** Steps, values, times and attempt numbers of consecutive points, as `int8send` and its like make them. */
export type SentPoints = readonly [steps: Buffer, values: Buffer, times: Buffer, attempts: Buffer];

const TWO_32 = 2 ** 32;
const YEAR_2000_MS = Date.UTC(2000);

/** A page that grows by one series after the other. */
export class GrowingPage {
  readonly #series: PointPage['series'] = [];
  #length = 0;
  #columns: PointPage;

  /** Room for so many points; it grows where there are more. */
  constructor(pointCount: number) {
    this.#columns = columnsOf(pointCount);
  }

  get length(): number {
    return this.#length;
  }

  /** Adds the first `most` points of a series; unless `allAttempts`, without those whose step the point after it logged again. Answers whether there were more. */
  add(jobId: string, key: string, sent: SentPoints, most: number, allAttempts: boolean): boolean {
    const count = sent[3].length / Int32Array.BYTES_PER_ELEMENT;
    const start = this.#length;
    this.#makeRoom(start + count);
    const { steps, values, times, attempts } = this.#columns;
    bytesOf(steps, start, sent[0]).swap64();
    bytesOf(values, start, sent[1]).swap64();
    toMilliseconds(bytesOf(times, start, sent[2]).swap64());
    bytesOf(attempts, start, sent[3]).swap32();
    this.#length = allAttempts ? start + Math.min(count, most) : this.#effective(start, start + count, start + Math.min(count, most));
    if (this.#length > start) this.#series.push({ jobId, key, pointCount: this.#length - start });
    return count > most;
  }

  /** The last point of all. */
  last(): { step: number; attempt: number } {
    return { step: Number(this.#columns.steps[this.#length - 1]), attempt: this.#columns.attempts[this.#length - 1]! };
  }

  /** What has been added. */
  page(): PointPage {
    const { steps, values, times, attempts } = this.#columns;
    const length = this.#length;
    return { series: this.#series, steps: steps.subarray(0, length), values: values.subarray(0, length), times: times.subarray(0, length), attempts: attempts.subarray(0, length) };
  }

  /** Moves the points before `end` that count together, and answers where they end. The points up to `sentEnd` are looked at, so that no step is given twice where a page ends. */
  #effective(start: number, sentEnd: number, end: number): number {
    const { steps, values, times, attempts } = this.#columns;
    let same = start;
    // Only another attempt can log a step again.
    while (same < sentEnd && attempts[same] === attempts[start]) same += 1;
    if (same === sentEnd) return end;
    let kept = start;
    for (let index = start; index < end; index += 1) {
      if (index + 1 < sentEnd && steps[index] === steps[index + 1]) continue;
      steps[kept] = steps[index]!;
      values[kept] = values[index]!;
      times[kept] = times[index]!;
      attempts[kept] = attempts[index]!;
      kept += 1;
    }
    return kept;
  }

  #makeRoom(length: number): void {
    const before = this.#columns;
    if (length <= before.steps.length) return;
    this.#columns = columnsOf(2 * length);
    this.#columns.steps.set(before.steps);
    this.#columns.values.set(before.values);
    this.#columns.times.set(before.times);
    this.#columns.attempts.set(before.attempts);
  }
}

function columnsOf(length: number): PointPage {
  return { series: [], steps: new BigInt64Array(length), values: new Float64Array(length), times: new BigInt64Array(length), attempts: new Int32Array(length) };
}

/** The bytes that are put into the column from a place on. */
function bytesOf(column: BigInt64Array | Float64Array | Int32Array, start: number, sent: Buffer): Buffer {
  const bytes = Buffer.from(column.buffer, start * column.BYTES_PER_ELEMENT, sent.length);
  sent.copy(bytes);
  return bytes;
}

/** In place, from PostgreSQL's microseconds since 2000. Halves of 32 bits spare a big integer for each, and no product of them is beyond what a double holds. */
function toMilliseconds(moments: Buffer): void {
  const halves = new Int32Array(moments.buffer, moments.byteOffset, moments.length / Int32Array.BYTES_PER_ELEMENT);
  for (let low = 0; low < halves.length; low += 2) {
    const high = halves[low + 1]!;
    // 2 ** 32 microseconds are 4294967 milliseconds and 296 microseconds.
    const milliseconds = high * 4_294_967 + Math.round((high * 296 + (halves[low]! >>> 0)) / 1000) + YEAR_2000_MS;
    halves[low] = milliseconds;
    halves[low + 1] = Math.floor(milliseconds / TWO_32);
  }
}
