/** Points on their way into the database: gathered until they are worth a transaction, with the next ones read while it runs. */
import type { IngestedMetrics, IngestedPoints } from '../../actions/ingest-metrics.ts';

/** More points in a transaction are not faster, and are held in memory. */
const POINTS_PER_TRANSACTION = 50_000;
/** Reasons are shown for the first ones; the rest is counted. */
const MAX_REASONS = 20;

/** A job that is refused again for the same reason is counted once, as long as no more than these are remembered: ids may be made up without end. */
const MAX_REMEMBERED_REFUSALS = 10_000;

/** What came of a request. */
export interface IngestSummary {
  /** Points that are now in the database, those among them that were there before included. */
  pointCount: number;
  /** Lines (rows of an Arrow stream), values of lines, and jobs that were not taken. */
  rejectedCount: number;
  /** The first of them, with why. */
  rejected: { line?: number; jobId?: string; message: string }[];
}

interface Columns {
  steps: number[];
  values: number[];
  /** Milliseconds since 1970. */
  times: number[];
}

export class CollectedPoints {
  readonly summary: IngestSummary = { pointCount: 0, rejectedCount: 0, rejected: [] };
  readonly #write: (parts: IngestedPoints[]) => Promise<IngestedMetrics>;
  readonly #refusals = new Set<string>();
  #parts = new Map<string, { jobId: string; attempt: number | null; series: Map<string, Columns> }>();
  #count = 0;
  #writing: Promise<void> = Promise.resolve();

  constructor(write: (parts: IngestedPoints[]) => Promise<IngestedMetrics>) {
    this.#write = write;
  }

  add(jobId: string, attempt: number | null, key: string, { steps, values, times }: Columns): void {
    // What is held is bounded by its points: a series without any would be held beside them.
    if (steps.length === 0) return;
    const columns = this.#columnsOf(jobId, attempt, key);
    for (let index = 0; index < steps.length; index += 1) {
      columns.steps.push(steps[index]!);
      columns.values.push(values[index]!);
      columns.times.push(times[index]!);
    }
    this.#count += steps.length;
  }

  addPoint(jobId: string, attempt: number | null, key: string, step: number, value: number, time: number): void {
    const columns = this.#columnsOf(jobId, attempt, key);
    columns.steps.push(step);
    columns.values.push(value);
    columns.times.push(time);
    this.#count += 1;
  }

  reject(reason: { line?: number; jobId?: string; message: string }): void {
    this.summary.rejectedCount += 1;
    if (this.summary.rejected.length < MAX_REASONS) this.summary.rejected.push(reason);
  }

  /** To be awaited after each piece that was read: resolves once there is room for more. */
  async makeRoom(): Promise<void> {
    if (this.#count < POINTS_PER_TRANSACTION) return;
    await this.#writing;
    this.#beginWrite();
  }

  /** Writes the rest. */
  async finish(): Promise<IngestSummary> {
    await this.#writing;
    this.#beginWrite();
    await this.#writing;
    return this.summary;
  }

  #columnsOf(jobId: string, attempt: number | null, key: string): Columns {
    // An id may be written in capitals, too: the same job must not be written part by part.
    const place = `${jobId.toLowerCase()} ${attempt}`;
    const part = this.#parts.get(place) ?? { jobId, attempt, series: new Map<string, Columns>() };
    this.#parts.set(place, part);
    const columns = part.series.get(key) ?? { steps: [], values: [], times: [] };
    part.series.set(key, columns);
    return columns;
  }

  #beginWrite(): void {
    const parts = [...this.#parts.values()].map(({ series, ...part }) => ({ ...part, series: [...series].map(([key, columns]) => ({ key, ...columns })) }));
    this.#parts = new Map();
    this.#count = 0;
    this.#writing = parts.length === 0 ? Promise.resolve() : this.#writeOut(parts);
    // Awaited by the next call; until then a failure is nobody's.
    this.#writing.catch(() => undefined);
  }

  async #writeOut(parts: IngestedPoints[]): Promise<void> {
    const { pointCount, refused } = await this.#write(parts);
    this.summary.pointCount += pointCount;
    for (const { jobId, attempt, message } of refused) {
      const refusal = `${jobId} ${attempt} ${message}`;
      if (this.#refusals.has(refusal)) continue;
      this.reject({ jobId, message });
      if (this.#refusals.size < MAX_REMEMBERED_REFUSALS) this.#refusals.add(refusal);
    }
  }
}
