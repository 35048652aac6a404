/** A job filter as a SQL condition over `jobs`. */
import { and, eq, gte, isNotNull, lt, lte, sql, type SQL } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import type { ConfigCondition, JobFilter, MetricCondition, TimeRange } from '../../domain/job-filter.ts';
import type { Json } from '../../domain/job-spec.ts';
import { attempts, experiments, jobs, metricSeries } from '../tables/index.ts';
import { onlyUuids } from './uuid.ts';

/**
 * The condition that holds for the jobs that are meant, for a statement that has `jobs` unaliased in its FROM, UPDATE or
 * DELETE; undefined when the filter is empty and every job is meant. An empty list of alternatives (`ids`, `states`,
 * `tagsAny`, ...) matches nothing, so that a caller's empty selection never means everything.
 */
export function jobFilterCondition(filter: JobFilter): SQL | undefined {
  return and(
    uuidIn(jobs.id, filter.ids),
    filter.project === undefined ? undefined
      : sql`${jobs.experimentId} in (select ${experiments.id} from ${experiments} where ${experiments.project} = ${filter.project})`,
    uuidIn(jobs.experimentId, filter.experimentIds),
    uuidIn(jobs.sweepId, filter.sweepIds),
    textIn(jobs.state, filter.states),
    textIn(jobs.cluster, filter.clusters),
    ...tagConditions(filter),
    filter.nameContains === undefined ? undefined : sql`strpos(lower(${jobs.name}), lower(${filter.nameContains})) > 0`,
    filter.fingerprint === undefined ? undefined : eq(jobs.fingerprint, filter.fingerprint),
    filter.slurmJobId === undefined ? undefined : slurmJobCondition(filter.slurmJobId),
    ...(filter.config ?? []).map(configCondition),
    ...(filter.metrics ?? []).map(metricCondition),
    filter.priorityMin === undefined ? undefined : gte(jobs.priority, filter.priorityMin),
    filter.priorityMax === undefined ? undefined : lte(jobs.priority, filter.priorityMax),
    ...timeConditions(jobs.createdAt, filter.createdAt),
    ...timeConditions(jobs.startedAt, filter.startedAt),
    ...timeConditions(jobs.finishedAt, filter.finishedAt),
  );
}

/** The configuration's value at a dotted path as jsonb; NULL where there is none. */
export function configValue(key: string): SQL {
  return sql`(${jobs.config} #> ${sql.param(key.split('.'))}::text[])`;
}

/** The closed-open range on a time; a bound that is absent does not limit. */
export function timeConditions(column: PgColumn, range: TimeRange | undefined): (SQL | undefined)[] {
  return [
    range?.from === undefined ? undefined : gte(column, range.from),
    range?.to === undefined ? undefined : lt(column, range.to),
  ];
}

/** One parameter for the whole list, however long. */
export function uuidIn(column: PgColumn, ids: readonly string[] | undefined): SQL | undefined {
  return ids === undefined ? undefined : sql`${column} = any(${sql.param(onlyUuids(ids))}::uuid[])`;
}

/** One parameter for the whole list, however long. */
export function textIn(column: PgColumn, values: readonly string[] | undefined): SQL | undefined {
  return values === undefined ? undefined : sql`${column} = any(${sql.param([...values])}::text[])`;
}

function tagConditions(filter: JobFilter): (SQL | undefined)[] {
  const tagList = (tags: string[]): SQL => sql`${sql.param(tags)}::text[]`;
  return [
    filter.tagsAll === undefined ? undefined : sql`${jobs.tags} @> ${tagList(filter.tagsAll)}`,
    filter.tagsAny === undefined ? undefined : sql`${jobs.tags} && ${tagList(filter.tagsAny)}`,
    filter.tagsNone === undefined ? undefined : sql`not (${jobs.tags} && ${tagList(filter.tagsNone)})`,
  ];
}

/** The id of an array means all of its tasks. */
function slurmJobCondition(slurmJobId: string): SQL {
  return sql`${jobs.id} in (select ${attempts.jobId} from ${attempts}
    where ${attempts.slurmJobId} = ${slurmJobId} or starts_with(${attempts.slurmJobId}, ${`${slurmJobId}_`}))`;
}

function configCondition(condition: ConfigCondition): SQL | undefined {
  const value = configValue(condition.key);
  return and(
    condition.eq === undefined ? undefined : equals(condition.key, value, condition.eq),
    condition.ne === undefined ? undefined : sql`${value} is distinct from ${jsonb(condition.ne)}`,
    condition.in === undefined ? undefined : sql`${value} = any(${sql.param(condition.in.map((item) => JSON.stringify(item)))}::jsonb[])`,
    ...comparisons(condition).map(([operator, bound]) => sql`case when jsonb_typeof(${value}) = 'number'
      then ${value}::numeric ${operator} ${String(bound)}::numeric else false end`),
    condition.exists === undefined ? undefined : sql`(${value} is not null) = ${condition.exists}`,
  );
}

/** Containment can use the index on the configuration; it means less than equality, so both are asked. */
function equals(key: string, value: SQL, wanted: Json): SQL {
  const segments = key.split('.');
  const exact = sql`${value} = ${jsonb(wanted)}`;
  // A numeric segment may be an index into an array, which containment would read as the key of an object.
  if (segments.some((segment) => /^-?\d+$/.test(segment))) return exact;
  const nested = segments.reduceRight<Json>((inner, segment) => ({ [segment]: inner }), wanted);
  return sql`(${jobs.config} @> ${jsonb(nested)} and ${exact})`;
}

function metricCondition(condition: MetricCondition): SQL {
  const column = summaryColumn(condition.at);
  return sql`exists (select 1 from ${metricSeries} where ${and(
    eq(metricSeries.jobId, jobs.id),
    eq(metricSeries.key, condition.key),
    isNotNull(column),
    ...comparisons(condition).map(([operator, bound]) => sql`${column} ${operator} ${bound}::double precision`),
  )})`;
}

/** The column that holds a metric's summary value. */
export function summaryColumn(at: MetricCondition['at']): PgColumn {
  switch (at) {
    case 'LAST': return metricSeries.lastValue;
    case 'MIN': return metricSeries.minValue;
    case 'MAX': return metricSeries.maxValue;
  }
}

interface Bounds { lt?: number; lte?: number; gt?: number; gte?: number }

function comparisons(bounds: Bounds): [operator: SQL, bound: number][] {
  const all: [SQL, number | undefined][] = [
    [sql`<`, bounds.lt], [sql`<=`, bounds.lte], [sql`>`, bounds.gt], [sql`>=`, bounds.gte],
  ];
  return all.filter((pair): pair is [SQL, number] => pair[1] !== undefined);
}

function jsonb(value: Json): SQL {
  return sql`${JSON.stringify(value)}::jsonb`;
}
