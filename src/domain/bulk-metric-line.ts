/**
 * Lines of the bulk endpoint, each of a job (`job_id`, and `attempt` where it is not the newest): a line of `metrics.jsonl`; one metric as
 * columns, `{"job_id", "key", "steps": [...], "values": [...], "times": [...]}`; or one point, `{"job_id", "key", "step", "value", "time"}`, as
 * the export of metrics has it.
 */
import { isJsonObject } from './config-values.ts';
import type { Json, JsonObject } from './job-spec.ts';
import { parseLenientJson, readMetricObject, TIME_KEYS, toNumber, type DroppedLine } from './metric-line.ts';
import { parseMetricTimeMs } from './metric-time.ts';
import { metricKeyProblem, stepProblem } from './readers/reader.ts';

/** Points of one metric, as columns of equal length. NaN and infinities are values. */
export interface MetricColumns {
  key: string;
  steps: number[];
  values: number[];
  /** Milliseconds since 1970. */
  times: number[];
}

export interface BulkMetricLine {
  ok: true;
  jobId: string;
  /** Null: the newest. */
  attempt: number | null;
  series: MetricColumns[];
  /** Why numbers of the line were left out, in words that follow "a value": once for each. */
  refused: string[];
}

/** Non-finite values by the names that JSON can carry. */
const NON_FINITE: Record<string, number> = { 'NaN': Number.NaN, 'Infinity': Infinity, '-Infinity': -Infinity };

const MOMENT_WORDS = 'a moment is written as ISO 8601, unix seconds or unix milliseconds';

/** Room for a UUID in any notation: longer texts would be held with their points, and are no ids. */
const MAX_JOB_ID_LENGTH = 64;

/** Whether this may be the id of a job; there need not be such a job. */
export function mayBeJobId(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_JOB_ID_LENGTH;
}

/** Reads one line. Every point names its step, so that a line counts once however often it is sent; without a time it is `now`. */
export function parseBulkMetricLine(line: string, now: Date): BulkMetricLine | DroppedLine {
  const parsed = parseLenientJson(line);
  if (!isJsonObject(parsed)) return dropped('is not a JSON object');
  const { job_id: jobId, attempt = null, ...rest } = parsed;
  if (!mayBeJobId(jobId)) return dropped('names no job: "job_id" must be the id of one');
  if (attempt !== null && (typeof attempt !== 'number' || !Number.isInteger(attempt))) return dropped('has an "attempt" that is not a whole number');
  const read = readContent(rest, now);
  return typeof read === 'string' ? dropped(read) : { ok: true, jobId, attempt, ...read };
}

function dropped(reason: string): DroppedLine {
  return { ok: false, reason };
}

type LineContent = Pick<BulkMetricLine, 'series' | 'refused'>;

function readContent(content: JsonObject, now: Date): LineContent | string {
  if (Array.isArray(content['steps']) || Array.isArray(content['values'])) return readColumns(content, now);
  const { key, step, value, time = null } = content;
  if (typeof key === 'string' && value !== undefined) return readColumns({ key, steps: [step ?? null], values: [value], times: [time] }, now);
  return readRow(content, now);
}

function readRow(row: JsonObject, now: Date): LineContent | string {
  const read = readMetricObject(row, { nextStep: Number.NaN, now });
  if (!read.ok) return read.reason;
  if (Number.isNaN(read.step)) return 'names no step: "step" (or "epoch") must be a whole number';
  if (read.values.length === 0 && read.refused.length === 0) return 'has no metric: nothing in it is a number';
  const odd = TIME_KEYS.find((name) => typeof row[name] === 'string' && parseMetricTimeMs(row[name]) === null);
  if (odd !== undefined) return `has a "${odd}" that is no moment; ${MOMENT_WORDS}`;
  return { series: read.values.map(({ key, value }) => ({ key, steps: [read.step], values: [value], times: [read.time.getTime()] })), refused: read.refused };
}

function readColumns({ key, steps, values, times }: JsonObject, now: Date): LineContent | string {
  if (typeof key !== 'string') return 'has columns but names no metric: "key" must be its name';
  const problem = metricKeyProblem(key);
  if (problem !== null) return `has ${problem}`;
  if (!Array.isArray(steps) || !Array.isArray(values)) return 'must have both "steps" and "values", as lists';
  if (steps.length !== values.length) return `has ${steps.length} steps and ${values.length} values; they belong together`;
  if (times !== undefined && times !== null && (!Array.isArray(times) || times.length !== steps.length)) return 'has "times" that are no list as long as "steps"';
  for (const [index, step] of steps.entries()) {
    const fault = stepProblem(step);
    if (fault !== null) return `has ${fault}${place(index, steps)}`;
  }
  const numbers = values.map(numberOf);
  const odd = numbers.indexOf(null);
  if (odd !== -1) return `has a value that is no number${place(odd, values)}; NaN and infinities are written "NaN", "Infinity", "-Infinity"`;
  const moments = Array.isArray(times) ? times.map((time) => (time === null ? now.getTime() : parseMetricTimeMs(time))) : steps.map(() => now.getTime());
  const oddTime = moments.indexOf(null);
  if (oddTime !== -1) return `has a time that is no moment${place(oddTime, steps)}; ${MOMENT_WORDS}`;
  return { series: [{ key, steps: steps as number[], values: numbers as number[], times: moments as number[] }], refused: [] };
}

function place(index: number, { length }: { length: number }): string {
  return length === 1 ? '' : ` (${index + 1} of ${length})`;
}

function numberOf(value: Json): number | null {
  const number = toNumber(value);
  if (typeof number === 'number') return number;
  return typeof value === 'string' ? NON_FINITE[value] ?? null : null;
}
