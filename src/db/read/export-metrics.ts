/**
 * Every point of many series, in pages of bounded size: by job, key, step and attempt. Each page is one statement, so that nothing
 * is held open between two of them, and the points come as arrays of bytes, which neither the driver nor anybody else has to parse one by one.
 */
import { and, sql } from 'drizzle-orm';
import type { Reader } from '../database.ts';
import { metricSeries } from '../tables/index.ts';
import type { JobIds } from './export-jobs.ts';
import { textIn, uuidIn } from './job-filter.ts';

/** Which points of the jobs are wanted. */
export interface PointSelection {
  /** Null: every metric. */
  keys: readonly string[] | null;
  /** A closed interval where bounds are given. */
  fromStep: number | null;
  toStep: number | null;
  /** False: of each step only what the highest attempt logged there. */
  allAttempts: boolean;
}

/** The place of a point: what comes after it is what comes later in the order of the export. */
export interface PointPosition {
  jobId: string;
  key: string;
  step: number;
  attempt: number;
}

/** Some consecutive points of one series. */
export interface SeriesPart {
  jobId: string;
  key: string;
  steps: BigInt64Array;
  /** NaN and infinities as they were logged. */
  values: Float64Array;
  /** Milliseconds since 1970. */
  times: BigInt64Array;
  attempts: Int32Array;
}

/** Enough that a page is worth its statement, and few enough that several fit into memory. */
const POINTS_PER_PAGE = 50_000;
/** Points of a series that came since its summary was read are taken along up to here. */
const SPARE_POINTS = 16;
const JOBS_PER_LOOK = 500;
const SERIES_PER_LOOK = 2_000;
const LAST_ATTEMPT = 2 ** 31 - 1;

interface OpenSeries {
  jobId: string;
  key: string;
  seriesNumber: number;
  pointCount: number;
  /** Most points of it in a page. */
  limit: number;
  /** Points at or before this were given already; no step is negative. */
  after: { step: number; attempt: number };
}

/** The pages of the points of the jobs that come after a position; null: all of them. */
export async function* metricPages(reader: Reader, jobIds: JobIds, selection: PointSelection, after: PointPosition | null): AsyncGenerator<SeriesPart[]> {
  for await (const looked of seriesLooks(reader, after === null ? jobIds : jobIds.from(after.jobId, true), selection.keys, after)) {
    let rest = looked.map((series) => (series.jobId === after?.jobId && series.key === after.key ? { ...series, after: pointsAfter(after, selection) } : series));
    while (rest.length > 0) {
      const group = rest.slice(0, pageLength(rest));
      const parts = await readParts(reader, group, selection);
      const cut = parts.findIndex(({ isCut }) => isCut);
      const given = (cut === -1 ? parts : parts.slice(0, cut + 1)).map(({ part }) => part).filter(({ steps }) => steps.length > 0);
      if (given.length > 0) yield given;
      rest = cut === -1 ? rest.slice(group.length) : [goingOn(group[cut]!, parts[cut]!.part, selection), ...rest.slice(cut + 1)];
    }
  }
}

/** The series of the jobs from the position on, a look after the other: an experiment may have more of them than fit into memory. */
async function* seriesLooks(reader: Reader, jobIds: JobIds, keys: readonly string[] | null, from: { jobId: string; key: string } | null): AsyncGenerator<OpenSeries[]> {
  let start = from;
  let isIncluded = true;
  for (let index = 0; index < jobIds.length; index += JOBS_PER_LOOK) {
    const ids = jobIds.slice(index, JOBS_PER_LOOK);
    for (;;) {
      const rows = await reader.select({ jobId: metricSeries.jobId, key: metricSeries.key, seriesNumber: metricSeries.seriesNumber, pointCount: metricSeries.pointCount })
        .from(metricSeries)
        .where(and(uuidIn(metricSeries.jobId, ids), textIn(metricSeries.key, keys ?? undefined), start === null ? undefined
          : sql`(${metricSeries.jobId}, ${metricSeries.key}) ${isIncluded ? sql`>=` : sql`>`} (${start.jobId}::uuid, ${start.key}::text)`))
        .orderBy(metricSeries.jobId, metricSeries.key).limit(SERIES_PER_LOOK);
      yield rows.map((row) => ({ ...row, limit: Math.min(POINTS_PER_PAGE, 2 * row.pointCount + SPARE_POINTS), after: { step: -1, attempt: LAST_ATTEMPT } }));
      const last = rows.at(-1);
      if (rows.length < SERIES_PER_LOOK || last === undefined) break;
      start = last;
      isIncluded = false;
    }
  }
}

/** How many of the series make up a page. */
function pageLength(series: readonly OpenSeries[]): number {
  let points = 0;
  const beyond = series.findIndex(({ pointCount }) => (points += pointCount) > POINTS_PER_PAGE);
  return beyond === -1 ? series.length : Math.max(1, beyond);
}

function goingOn(series: OpenSeries, part: SeriesPart, selection: PointSelection): OpenSeries {
  const last = part.steps.length - 1;
  const after = last === -1 ? series.after : pointsAfter({ step: Number(part.steps[last]), attempt: part.attempts[last]! }, selection);
  return { ...series, after, limit: POINTS_PER_PAGE };
}

/** Of a step that was given, no other attempt is wanted unless all are. */
function pointsAfter({ step, attempt }: { step: number; attempt: number }, { allAttempts }: PointSelection): OpenSeries['after'] {
  return { step, attempt: allAttempts ? attempt : LAST_ATTEMPT };
}

interface PartRow extends Record<string, unknown> {
  steps: Buffer | null;
  values: Buffer | null;
  times: Buffer | null;
  attempts: Buffer | null;
}

/** One more point of each series is read than is wanted, to see whether it goes on. */
async function readParts(reader: Reader, group: readonly OpenSeries[], selection: PointSelection): Promise<{ part: SeriesPart; isCut: boolean }[]> {
  const { fromStep, toStep, allAttempts } = selection;
  const { rows } = await reader.execute<PartRow>(sql`
    select part.* from unnest(
      ${sql.param(group.map((series) => series.jobId))}::uuid[], ${sql.param(group.map((series) => series.seriesNumber))}::integer[],
      ${sql.param(group.map((series) => series.after.step))}::bigint[], ${sql.param(group.map((series) => series.after.attempt))}::integer[],
      ${sql.param(group.map((series) => series.limit))}::integer[]
    ) with ordinality as wanted(job_id, series_number, after_step, after_attempt, most, number)
    cross join lateral (
      select string_agg(int8send(step), ''::bytea) as steps, string_agg(float8send(value), ''::bytea) as values,
        string_agg(int8send((date_part('epoch', time) * 1000)::bigint), ''::bytea) as times, string_agg(int4send(attempt_number), ''::bytea) as attempts
      from (
        select step, attempt_number, value, time from metric_points
        where job_id = wanted.job_id and series_number = wanted.series_number and (step, attempt_number) > (wanted.after_step, wanted.after_attempt)
          ${fromStep === null ? sql`` : sql`and step >= ${fromStep}::bigint`} ${toStep === null ? sql`` : sql`and step <= ${toStep}::bigint`}
        order by step, attempt_number limit wanted.most + 1
      ) as points
    ) as part order by wanted.number`);
  return group.map((series, index) => decodePart(series, rows[index]!, allAttempts));
}

function decodePart({ jobId, key, limit }: OpenSeries, row: PartRow, allAttempts: boolean): { part: SeriesPart; isCut: boolean } {
  const [steps, values, times] = [row.steps, row.values, row.times].map((bytes) => inOwnMemory(bytes).swap64()) as [Buffer, Buffer, Buffer];
  const attempts = inOwnMemory(row.attempts).swap32();
  const count = attempts.length / Int32Array.BYTES_PER_ELEMENT;
  const part = {
    jobId, key, steps: new BigInt64Array(steps.buffer, steps.byteOffset, count), values: new Float64Array(values.buffer, values.byteOffset, count),
    times: new BigInt64Array(times.buffer, times.byteOffset, count), attempts: new Int32Array(attempts.buffer, attempts.byteOffset, count),
  };
  const isCut = count > limit;
  return { part: keptOf(part, isCut ? limit : count, allAttempts), isCut };
}

/** Typed arrays need memory that begins at a multiple of eight. */
function inOwnMemory(bytes: Buffer | null): Buffer {
  if (bytes === null) return Buffer.alloc(0);
  return bytes.byteOffset % BigInt64Array.BYTES_PER_ELEMENT === 0 ? bytes : Buffer.from(new Uint8Array(bytes).buffer);
}

/** The first `count` points, without those whose step a later attempt logged again, unless all are wanted. */
function keptOf(part: SeriesPart, count: number, allAttempts: boolean): SeriesPart {
  // Only another attempt can log a step again.
  const isEachStepOnce = part.attempts.every((attempt) => attempt === part.attempts[0]);
  let length = count;
  if (!isEachStepOnce && !allAttempts) {
    length = 0;
    for (let index = 0; index < count; index += 1) {
      // The point beyond `count` is looked at as well, so that no step is given twice where a page ends.
      if (part.steps[index] === part.steps[index + 1]) continue;
      part.steps[length] = part.steps[index]!;
      part.values[length] = part.values[index]!;
      part.times[length] = part.times[index]!;
      part.attempts[length] = part.attempts[index]!;
      length += 1;
    }
  }
  return {
    ...part, steps: part.steps.subarray(0, length), values: part.values.subarray(0, length),
    times: part.times.subarray(0, length), attempts: part.attempts.subarray(0, length),
  };
}
