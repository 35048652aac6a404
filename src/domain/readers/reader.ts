/**
 * A metric reader understands one kind of file that training code writes. It is pure: it is shown what lies in a job directory, says
 * which bytes it wants next, and turns those bytes into points. It never sees a whole history at once, so memory is bounded by what one
 * plan may ask for. Whatever cannot be read loses only itself and is counted with a reason.
 */
import { textProblem } from '../config-values.ts';
import type { CursorPosition } from '../harvest-plan.ts';

/** In order of precedence: where two kinds of file bring the same key in the same round, the first has it. */
export const READER_NAMES = ['metrics.jsonl', 'trackio', 'trainer_state.json', 'metrics.csv', 'TensorBoard', 'MLflow'] as const;
export type ReaderName = (typeof READER_NAMES)[number];

/** A file of a job, its path relative to the job directory. */
export interface JobFile {
  path: string;
  sizeBytes: number;
  inode: string;
  modifiedAt: Date;
}

/** Some bytes of a file. */
export interface WantedBytes {
  path: string;
  offsetBytes: number;
  maxBytes: number;
}

/** What a reader wants to read next of one stream of points: a growing file, or several files that belong together. */
export interface StreamPlan {
  /** What the cursor is kept under: a path relative to the job directory. */
  stream: string;
  /** Where the cursor stands before this read. */
  from: CursorPosition;
  /** Never empty. */
  wanted: WantedBytes[];
  /** The file of each wanted range, as it was listed. */
  files: JobFile[];
  /** There is more behind what is wanted now. */
  hasMore: boolean;
}

/** Points of one key, as columns of equal length. NaN and infinities are values. */
export interface PointColumns {
  key: string;
  steps: number[];
  values: number[];
  /** Milliseconds since 1970. */
  times: number[];
}

/** Something that was left out, and why. */
export interface Dropped {
  /** Begins with what was left out, such as `a line of metrics.csv`. */
  reason: string;
  count: number;
}

export interface StreamRead {
  series: PointColumns[];
  dropped: Dropped[];
  cursor: CursorPosition;
  /** The reader has not taken in all that it was given, or found that it must begin anew. */
  hasMore: boolean;
}

export interface ReadOptions {
  /** The time of points whose file tells none. */
  now: Date;
  /** Nothing will be added to the files: what is unfinished now stays so. */
  atEnd: boolean;
}

/** How far each stream was read, by its name. */
export type StreamCursors = ReadonlyMap<string, CursorPosition>;

export interface MetricReader {
  readonly name: ReaderName;
  /** What is to be read next, in an order in which later streams overwrite earlier ones. Empty when there is nothing new. */
  plan(files: readonly JobFile[], cursors: StreamCursors): StreamPlan[];
  /** `contents` belong to `plan.wanted`; null for a file that has vanished. */
  read(plan: StreamPlan, contents: (Buffer | null)[], options: ReadOptions): StreamRead;
}

/** Files by what they belong to, in the order in which they came. */
export function filesBy(files: readonly JobFile[], ownerOf: (file: JobFile) => string): Map<string, JobFile[]> {
  const groups = new Map<string, JobFile[]>();
  for (const file of files) {
    const owner = ownerOf(file);
    const group = groups.get(owner);
    if (group === undefined) groups.set(owner, [file]);
    else group.push(file);
  }
  return groups;
}

/** Keys are part of an index. */
const MAX_METRIC_KEY_LENGTH = 256;

/** Why a metric cannot have this key, in words that follow "has"; null when it can. */
export function metricKeyProblem(key: string): string | null {
  if (key === '' || key.endsWith('/')) return 'an empty key';
  if (key.length > MAX_METRIC_KEY_LENGTH) return `a key of more than ${MAX_METRIC_KEY_LENGTH} characters`;
  const problem = textProblem(key);
  return problem === null ? null : `a key that ${problem}`;
}

/** Why a value cannot be a step, in words that follow "has"; null when it can. */
export function stepProblem(step: unknown): string | null {
  if (typeof step !== 'number' || !Number.isInteger(step)) return 'a step that is not a whole number';
  if (step < 0) return 'a negative step';
  return Number.isSafeInteger(step) ? null : `a step beyond ${Number.MAX_SAFE_INTEGER}, where whole numbers are no longer exact`;
}

/** Counts what was left out, by reason. */
export class DropCounter {
  readonly #counts = new Map<string, number>();

  drop(reason: string, count = 1): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + count);
  }

  dropped(): Dropped[] {
    return [...this.#counts].map(([reason, count]) => ({ reason, count }));
  }
}

/** Collects points by key, and what was left out. */
export class PointCollector extends DropCounter {
  readonly #series = new Map<string, PointColumns>();

  add(key: string, step: number, value: number, time: Date): void {
    let columns = this.#series.get(key);
    if (columns === undefined) this.#series.set(key, columns = { key, steps: [], values: [], times: [] });
    columns.steps.push(step);
    columns.values.push(value);
    columns.times.push(time.getTime());
  }

  result(cursor: CursorPosition, hasMore = false): StreamRead {
    return { series: [...this.#series.values()], dropped: this.dropped(), cursor, hasMore };
  }
}
