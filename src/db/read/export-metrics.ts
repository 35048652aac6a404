/**
 * Every point of many series, in pages of bounded size: by job, key, step and attempt. Each page is one statement, so that nothing
 * is held open between two of them, and the points come as arrays of bytes, which neither the driver nor anybody else has to parse one by one.
 */
import { and, sql } from 'drizzle-orm';
import { copyOut } from '../copy-out.ts';
import type { Database, Reader } from '../database.ts';
import { metricSeries } from '../tables/index.ts';
import type { JobIds } from './export-jobs.ts';
import { textIn, uuidIn } from './job-filter.ts';
import { GrowingPage, type PointPage, type SentPoints } from './point-page.ts';

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
export async function* metricPages(database: Database, jobIds: JobIds, selection: PointSelection, after: PointPosition | null): AsyncGenerator<PointPage> {
  for await (const looked of seriesLooks(database, after === null ? jobIds : jobIds.from(after.jobId, true), selection.keys, after)) {
    const groups = groupsOf(looked.map((series) => (series.jobId === after?.jobId && series.key === after.key ? { ...series, after: pointsAfter(after, selection) } : series)));
    let ahead: Promise<ReadPage> | null = null;
    for (let group = groups.next(); !group.done;) {
      const reading: Promise<ReadPage> = ahead ?? readPage(database, group.value, selection);
      const following = groups.next();
      ahead = following.done || !mayReadAhead(database) ? null : readPage(database, following.value, selection);
      // Awaited when its turn comes; until then a failure is nobody's.
      ahead?.catch(() => undefined);
      yield* pagesOf(database, group.value, await reading, selection);
      group = following;
    }
  }
}

/** What was read of some series, and then what is still to be read of them. */
async function* pagesOf(database: Database, group: readonly OpenSeries[], first: ReadPage, selection: PointSelection): AsyncGenerator<PointPage> {
  let rest = group;
  for (let { page, cut } = first; ; { page, cut } = await readPage(database, rest, selection)) {
    if (page.steps.length > 0) yield page;
    if (cut === null) return;
    rest = [cut.rest, ...rest.slice(cut.index + 1)];
  }
}

/** A second page is read at the same time while most connections are idle: nobody waits for one because of it. */
function mayReadAhead({ $client: pool }: Database): boolean {
  return 2 * (pool.totalCount - pool.idleCount + pool.waitingCount) < pool.options.max;
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

/** The series of a page each. */
function* groupsOf(series: readonly OpenSeries[]): Generator<OpenSeries[]> {
  let group: OpenSeries[] = [];
  let points = 0;
  for (const each of series) {
    if (group.length > 0 && points + each.pointCount > POINTS_PER_PAGE) {
      yield group;
      [group, points] = [[], 0];
    }
    group.push(each);
    points += each.pointCount;
  }
  if (group.length > 0) yield group;
}

/** Of a step that was given, no other attempt is wanted unless all are. */
function pointsAfter({ step, attempt }: { step: number; attempt: number }, { allAttempts }: PointSelection): OpenSeries['after'] {
  return { step, attempt: allAttempts ? attempt : LAST_ATTEMPT };
}

/** The points of some series. Where one of them goes on, `cut` says which, and what is still to be read of it; those after it are not in the page. */
interface ReadPage {
  page: PointPage;
  cut: { index: number; rest: OpenSeries } | null;
}

/** One more point of each series is read than is wanted, to see whether it goes on. */
async function readPage(database: Database, group: readonly OpenSeries[], selection: PointSelection): Promise<ReadPage> {
  const growing = new GrowingPage(group.reduce((count, { limit, pointCount }) => count + Math.min(limit, pointCount) + 1, 0));
  let index = 0;
  let cut: ReadPage['cut'] = null;
  await copyOut(database, statementOf(group, selection), (row) => {
    const series = group[index]!;
    const before = growing.length;
    if (cut === null && growing.add(series.jobId, series.key, row as SentPoints, series.limit, selection.allAttempts)) {
      const after = growing.length === before ? series.after : pointsAfter(growing.last(), selection);
      cut = { index, rest: { ...series, limit: POINTS_PER_PAGE, after } };
    }
    index += 1;
  });
  return { page: growing.page(), cut };
}

function statementOf(group: readonly OpenSeries[], { fromStep, toStep }: PointSelection): string {
  // COPY takes no parameters. All of these are numbers, and ids that the database told.
  const array = (values: readonly (number | string)[], type: string): string => `'{${values.join(',')}}'::${type}[]`;
  return `
    select part.* from unnest(
      ${array(group.map((series) => series.jobId), 'uuid')}, ${array(group.map((series) => series.seriesNumber), 'integer')},
      ${array(group.map((series) => series.after.step), 'bigint')}, ${array(group.map((series) => series.after.attempt), 'integer')},
      ${array(group.map((series) => series.limit), 'integer')}
    ) with ordinality as wanted(job_id, series_number, after_step, after_attempt, most, number)
    cross join lateral (
      select string_agg(int8send(step), null) as steps, string_agg(float8send(value), null) as values,
        string_agg(timestamptz_send(time), null) as times, string_agg(int4send(attempt_number), null) as attempts
      from (
        select step, attempt_number, value, time from metric_points
        where job_id = wanted.job_id and series_number = wanted.series_number and (step, attempt_number) > (wanted.after_step, wanted.after_attempt)
          ${fromStep === null ? '' : `and step >= ${fromStep}`} ${toStep === null ? '' : `and step <= ${toStep}`}
        order by step, attempt_number limit wanted.most + 1
      ) as points
    ) as part order by wanted.number`;
}
