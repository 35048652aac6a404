/** A job directory in memory, read by one reader again and again as the server does, while a test changes it. */
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { CursorPosition } from '../../../src/domain/harvest-plan.ts';
import type { Dropped, JobFile, MetricReader } from '../../../src/domain/readers/reader.ts';

/** What the real frameworks wrote; see the README there. */
export const RECORDED_RUNS = join(import.meta.dirname, '../../frameworks/runs');

/** Rounds until a reader must have read all there is. */
const MOST_ROUNDS = 200;

interface MemoryFile {
  content: Buffer;
  inode: string;
  modifiedAt: Date;
}

export class JobFolder {
  readonly files = new Map<string, MemoryFile>();
  readonly cursors = new Map<string, CursorPosition>();
  /** Value by step, by key: what the database would hold. */
  readonly points = new Map<string, Map<number, { value: number; time: Date }>>();
  /** How many values were handed over, however often. */
  valueCount = 0;
  readonly dropped = new Map<string, number>();
  now = new Date('2026-01-01T00:00:00Z');
  #inodes = 0;

  /** A file appears, or is replaced by another. */
  put(path: string, content: Buffer | string): void {
    this.files.set(path, { content: Buffer.from(content), inode: String((this.#inodes += 1)), modifiedAt: this.now });
  }

  /** The same file has other bytes now. */
  change(path: string, content: Buffer | string): void {
    Object.assign(this.files.get(path)!, { content: Buffer.from(content), modifiedAt: this.now });
  }

  /** The regular files of a folder, at their places. */
  putAll(folder: string, under = ''): void {
    for (const name of readdirSync(join(folder, under))) {
      const path = join(folder, under, name);
      const status = lstatSync(path);
      if (status.isDirectory()) this.putAll(folder, relative(folder, path));
      else if (status.isFile()) this.put(relative(folder, path), readFileSync(path));
    }
  }

  list(): JobFile[] {
    return [...this.files].map(([path, { content, inode, modifiedAt }]) => ({ path, sizeBytes: content.length, inode, modifiedAt }));
  }

  /** Reads until nothing new is planned; answers the names of the streams that were read. */
  read(reader: MetricReader, { atEnd = false } = {}): string[] {
    const read: string[] = [];
    for (let round = 0; round < MOST_ROUNDS; round += 1) {
      const plans = reader.plan(this.list(), this.cursors);
      let hasMore = false;
      for (const plan of plans) {
        const contents = plan.wanted.map(({ path, offsetBytes, maxBytes }) => this.files.get(path)?.content.subarray(offsetBytes, offsetBytes + maxBytes) ?? null);
        const { series, dropped, cursor, hasMore: goesOn } = reader.read(plan, contents, { now: this.now, atEnd: atEnd && !plan.hasMore });
        read.push(plan.stream);
        hasMore ||= goesOn || (plan.hasMore && JSON.stringify(cursor) !== JSON.stringify(plan.from));
        this.cursors.set(plan.stream, cursor);
        for (const { key, steps, values, times } of series) {
          const byStep = this.points.get(key) ?? new Map<number, { value: number; time: Date }>();
          for (const [index, step] of steps.entries()) byStep.set(step, { value: values[index]!, time: new Date(times[index]!) });
          this.points.set(key, byStep);
          this.valueCount += steps.length;
        }
        this.#count(dropped);
      }
      if (!hasMore) return read;
    }
    throw new Error('the reader never comes to an end');
  }

  #count(dropped: Dropped[]): void {
    for (const { reason, count } of dropped) this.dropped.set(reason, (this.dropped.get(reason) ?? 0) + count);
  }

  /** `[step, value]` of a key, by step. */
  series(key: string): [number, number][] {
    return [...this.points.get(key) ?? []].map(([step, { value }]): [number, number] => [step, value]).sort(([a], [b]) => a - b);
  }

  /** Every series. */
  all(): Record<string, [number, number][]> {
    return Object.fromEntries([...this.points.keys()].sort().map((key) => [key, this.series(key)]));
  }
}
