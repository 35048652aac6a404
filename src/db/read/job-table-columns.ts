/** Statements that fill the columns of tables in memory. */
import { setImmediate } from 'node:timers/promises';
import { sql, type SQL } from 'drizzle-orm';
import { MAX_VALUE_LENGTH, type AnyColumn, type JobColumn, type JobTable, type MetricColumn } from '../../domain/job-table.ts';
import type { Goal } from '../../domain/job-spec.ts';
import type { Reader } from '../database.ts';
import { checkpoints, jobs, metricSeries, results } from '../tables/index.ts';
import { existsWhole } from './checkpoints.ts';
import { configValue, textIn, uuidIn } from './job-filter.ts';
import type { RawRow } from './rows.ts';

/** Reads these columns of these jobs; not the ranks of names, see `readNameRanks`. */
export async function readColumns(reader: Reader, table: JobTable, columns: ReadonlyMap<JobColumn, AnyColumn>, jobIds: readonly string[]): Promise<void> {
  const fields = [...columns].filter(([name]) => name !== 'nameRank').map(([name, column], index) => ({ name, column, field: `value_${index}` }));
  if (fields.length === 0) return;
  const { rows } = await reader.execute<RawRow>(sql`
    select ${jobs.id} as id, ${sql.join(fields.map(({ name, field }) => sql`${columnText(name)} as ${sql.identifier(field)}`), sql`, `)} from ${jobs} where ${uuidIn(jobs.id, jobIds)}`);
  for (const values of rows) {
    const row = table.rowOf(values['id'] as string);
    if (row === undefined) continue;
    for (const { column, field } of fields) column.set(row, values[field] as string | null);
  }
}

/** Reads these metrics of these jobs. */
export async function readMetrics(reader: Reader, table: JobTable, metrics: ReadonlyMap<string, MetricColumn>, jobIds: readonly string[]): Promise<void> {
  if (metrics.size === 0) return;
  const { rows } = await reader.execute<MetricRow>(sql`
    select ${metricSeries.jobId} as job_id, ${metricSeries.key} as key, ${metricSeries.lastValue} as last, ${metricSeries.minValue} as min, ${metricSeries.minStep}::float8 as min_step,
      ${metricSeries.maxValue} as max, ${metricSeries.maxStep}::float8 as max_step from ${metricSeries} where ${textIn(metricSeries.key, [...metrics.keys()])} and ${uuidIn(metricSeries.jobId, jobIds)}`);
  for (const { job_id, key, last, min, min_step, max, max_step } of rows) {
    const row = table.rowOf(job_id);
    if (row !== undefined) metrics.get(key)?.set(row, { last, min, minStep: min_step, max, maxStep: max_step });
  }
}

type MetricRow = { job_id: string; key: string; last: number | null; min: number | null; min_step: number | null; max: number | null; max_step: number | null };

const ID_BYTES = 16;
const RANK_BYTES = 4;
const RANKS_BETWEEN_PAUSES = 10_000;

/** Reads the place of each job's name in the order of the database. Jobs that are not in the table have places, too, so that the order is right without them. */
export async function readNameRanks(reader: Reader, table: JobTable, column: AnyColumn, experimentId: string): Promise<void> {
  const { rows: [found] } = await reader.execute<{ ranks: Buffer | null }>(sql`
    select string_agg(uuid_send(id) || int4send(rank::int), ''::bytea) as ranks
    from (select ${jobs.id} as id, dense_rank() over (order by ${jobs.name}) as rank from ${jobs} where ${jobs.experimentId} = ${experimentId}) as ranked`);
  const ranks = found?.ranks ?? Buffer.alloc(0);
  for (let start = 0, count = 1; start < ranks.length; start += ID_BYTES + RANK_BYTES, count += 1) {
    const hex = ranks.toString('hex', start, start + ID_BYTES);
    const row = table.rowOf(`${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`);
    if (row !== undefined) column.set(row, String(ranks.readInt32BE(start + ID_BYTES)));
    if (count % RANKS_BETWEEN_PAUSES === 0) await setImmediate();
  }
}

/** The value of a column as its text, over an unaliased `jobs`. */
function columnText(name: JobColumn): SQL {
  switch (name) {
    case 'state': return sql`to_json(${jobs.state})::text`;
    case 'tags': return sql`to_json(${jobs.tags})::text`;
    case 'sweepId': return sql`to_json(${jobs.sweepId})::text`;
    case 'cluster': return sql`to_json(${jobs.cluster})::text`;
    case 'priority': return sql`${jobs.priority}::text`;
    case 'lowerName': return sql`lower(${jobs.name})`;
    case 'createdAt': return micros(sql`${jobs.createdAt}`);
    case 'startedAt': return micros(sql`${jobs.startedAt}`);
    case 'finishedAt': return micros(sql`${jobs.finishedAt}`);
    case 'resultAt': return sql`(select ${micros(sql`${results.finishedAt}`)} from ${results} where ${results.jobId} = ${jobs.id})`;
    case 'checkpoint': return sql`(select '1' from ${checkpoints} where ${checkpoints.jobId} = ${jobs.id} and ${existsWhole} limit 1)`;
    case 'nameRank': throw new Error('ranks are read by another statement');
  }
  const [kind, key] = [name.slice(0, name.indexOf(':')), name.slice(name.indexOf(':') + 1)];
  switch (kind) {
    case 'config': return sql`left(${configValue(key)}::text, ${MAX_VALUE_LENGTH + 1})`;
    case 'result': return sql`(select (${results.metrics} -> ${key}::text)::text from ${results} where ${results.jobId} = ${jobs.id})`;
    default: return bestGiven(key.slice(0, key.indexOf(':')) as Goal, key.slice(key.indexOf(':') + 1));
  }
}

function bestGiven(goal: Goal, key: string): SQL {
  const value = sql`(${checkpoints.loggedMetrics} ->> ${key}::text)::float8`;
  return sql`(select ${goal === 'MIN' ? sql`min` : sql`max`}(${value}) filter (where abs(${value}) < 'Infinity')::text from ${checkpoints}
    where ${checkpoints.jobId} = ${jobs.id} and ${existsWhole} and ${checkpoints.loggedMetrics} is not null)`;
}

function micros(time: SQL): SQL {
  return sql`(extract(epoch from ${time}) * 1000000)::bigint::text`;
}
