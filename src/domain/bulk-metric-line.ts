/**
 * Lines of the bulk endpoint: a line of `metrics.jsonl` that says whose it is (`job_id`, and `attempt` where it is not the newest), or one
 * metric as columns: `{"job_id", "key", "steps": [...], "values": [...], "times": [...]}`.
 */
import { isJsonObject } from './config-values.ts';
import type { Json, JsonObject } from './job-spec.ts';
import { parseLenientJson, readMetricObject, toNumber, type DroppedLine } from './metric-line.ts';
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
  const read = Array.isArray(rest['steps']) || Array.isArray(rest['values']) ? readColumns(rest, now) : readRow(rest, now);
  return typeof read === 'string' ? dropped(read) : { ok: true, jobId, attempt, ...read };
}

function dropped(reason: string): DroppedLine {
  return { ok: false, reason };
}

type LineContent = Pick<BulkMetricLine, 'series' | 'refused'>;

function readRow(row: JsonObject, now: Date): LineContent | string {
  const read = readMetricObject(row, { nextStep: Number.NaN, now });
  if (!read.ok) return read.reason;
  if (Number.isNaN(read.step)) return 'names no step: "step" (or "epoch") must be a whole number';
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
    if (fault !== null) return `has ${fault} (number ${index})`;
  }
  const numbers = values.map(numberOf);
  const odd = numbers.indexOf(null);
  if (odd !== -1) return `has a value that is no number (number ${odd}); NaN and infinities are written "NaN", "Infinity", "-Infinity"`;
  const moments = (Array.isArray(times) ? times : []).map((time) => parseMetricTimeMs(time) ?? now.getTime());
  return { series: [{ key, steps: steps as number[], values: numbers as number[], times: moments.length > 0 ? moments : steps.map(() => now.getTime()) }], refused: [] };
}

function numberOf(value: Json): number | null {
  const number = toNumber(value);
  if (typeof number === 'number') return number;
  return typeof value === 'string' ? NON_FINITE[value] ?? null : null;
}
