/**
 * Tables in memory of the large experiments that somebody looks at. Each is brought up to date before it answers: the log tells which jobs
 * have changed since, and these are read anew. So an answer holds whatever was committed when it was asked for.
 */
import { sql, type SQL } from 'drizzle-orm';
import { JobTable, MAX_VALUE_LENGTH, type JobColumn, type TableNeeds } from '../../domain/job-table.ts';
import type { Database } from '../database.ts';
import { events, jobs, metricSeries } from '../tables/index.ts';
import { configValue, textIn, uuidIn } from './job-filter.ts';
import type { RawRow } from './rows.ts';

export interface JobTableLimits {
  /** Smaller experiments are left to the database, which answers as soon. */
  minJobs: number;
  /** Larger ones, too: reading all of one would take too long. */
  maxJobs: number;
  /** Numbers, of all tables together: the one used longest ago goes first. */
  maxNumbers: number;
  /** When more has happened since, the table is read anew as a whole. */
  maxEvents: number;
}

/** 240 MB at the most; one experiment of 100,000 jobs with five values and two metrics takes 25 MB. */
const DEFAULT_LIMITS: JobTableLimits = { minJobs: 2000, maxJobs: 1_000_000, maxNumbers: 30_000_000, maxEvents: 20_000 };

interface HeldTable {
  table: JobTable;
  /** All events up to this one are in it. */
  seq: number;
}

export class JobTables {
  readonly #database: Database;
  readonly #limits: JobTableLimits;
  /** By experiment, the one used last at the end. */
  readonly #held = new Map<string, HeldTable>();
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(database: Database, limits: Partial<JobTableLimits> = {}) {
    this.#database = database;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
  }

  /** Which of the experiments are answered from here. */
  async largeAmong(experimentIds: readonly string[]): Promise<Set<string>> {
    const { minJobs, maxJobs } = this.#limits;
    const large = new Set(experimentIds.filter((id) => this.#held.has(id)));
    const unknown = experimentIds.filter((id) => !large.has(id));
    if (unknown.length === 0) return large;
    const atLeast = (count: number): SQL => sql`exists (select from ${jobs} where ${jobs.experimentId} = wanted.id offset ${count - 1})`;
    const { rows } = await this.#database.execute<{ id: string }>(sql`
      select id from unnest(${sql.param(unknown)}::uuid[]) as wanted(id) where case when ${atLeast(minJobs)} then not ${atLeast(maxJobs + 1)} else false end`);
    for (const { id } of rows) large.add(id);
    return large;
  }

  /** What `use` makes of the tables of those experiments that are large, each by its place in the list; null for the others. */
  async readEach<Answer>(experimentIds: readonly string[], needs: (index: number) => TableNeeds, use: (table: JobTable, index: number) => Answer): Promise<(Answer | null)[]> {
    const large = await this.largeAmong(experimentIds);
    return Promise.all(experimentIds.map(async (id, index) => (large.has(id) ? this.read(id, needs(index), (table) => use(table, index)) : null)));
  }

  /**
   * What `use` makes of the table of a large experiment; it must not keep the table, which changes with the next question. Null where it asks for
   * values that are too long to be held.
   */
  async read<Answer>(experimentId: string, needs: TableNeeds, use: (table: JobTable) => Answer): Promise<Answer | null> {
    const before = this.#turns.get(experimentId);
    const turn = (async (): Promise<Answer | null> => {
      // Its failure is told to whoever asked then.
      await before?.catch(() => undefined);
      const table = await this.#upToDate(experimentId, needs);
      return needs.columns.every((name) => table.column(name).isWhole) ? use(table) : null;
    })();
    this.#turns.set(experimentId, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(experimentId) === turn) this.#turns.delete(experimentId);
    }
  }

  async #upToDate(experimentId: string, needs: TableNeeds): Promise<JobTable> {
    const held = this.#held.get(experimentId);
    // Away while it changes: one that was left half changed is never seen.
    this.#held.delete(experimentId);
    const current = (held && await this.#followLog(experimentId, held)) ?? await this.#begin(experimentId);
    const { table } = current;
    const columns = new Set(needs.columns.filter((name) => !table.columns.has(name)));
    const metrics = new Set(needs.metrics.filter((key) => !table.metrics.has(key)));
    for (const name of columns) table.addColumn(name);
    for (const key of metrics) table.addMetric(key);
    if (columns.size > 0) await this.#fillColumns(table, [...columns], sql`${jobs.experimentId} = ${experimentId}`);
    if (metrics.size > 0) await this.#fillMetrics(table, [...metrics], sql`${metricSeries.jobId} in (select ${jobs.id} from ${jobs} where ${jobs.experimentId} = ${experimentId})`);
    this.#held.set(experimentId, current);
    this.#makeRoom();
    return table;
  }

  async #begin(experimentId: string): Promise<HeldTable> {
    // Before anything is read: what happens meanwhile is read twice, never missed.
    const { rows: [newest] } = await this.#database.execute<{ seq: string }>(sql`select coalesce(max(${events.seq}), 0) as seq from ${events} where ${events.experimentId} = ${experimentId}`);
    const table = new JobTable();
    const { rows } = await this.#database.execute<{ id: string }>(sql`select ${jobs.id} as id from ${jobs} where ${jobs.experimentId} = ${experimentId}`);
    for (const { id } of rows) table.addJob(id);
    return { table, seq: Number(newest?.seq ?? 0) };
  }

  /** The same table with what has changed; undefined when too much has. */
  async #followLog(experimentId: string, { table, seq }: HeldTable): Promise<HeldTable | undefined> {
    const { maxEvents } = this.#limits;
    const { rows: [happened] } = await this.#database.execute<{ count: string; seq: string | null; job_ids: string[] | null }>(sql`
      select count(*) as count, max(seq) as seq, array_agg(distinct job_id::text) as job_ids from (
        select ${events.seq}, ${events.jobId} from ${events} where ${events.experimentId} = ${experimentId} and ${events.seq} > ${seq} and ${events.jobId} is not null
        order by ${events.seq} limit ${maxEvents + 1}
      ) as happened`);
    if (happened === undefined || happened.seq === null) return { table, seq };
    if (Number(happened.count) > maxEvents) return undefined;
    const changed = happened.job_ids ?? [];
    for (const id of changed) table.addJob(id);
    if (table.columns.size > 0) await this.#fillColumns(table, [...table.columns.keys()], uuidIn(jobs.id, changed)!);
    if (table.metrics.size > 0) await this.#fillMetrics(table, [...table.metrics.keys()], uuidIn(metricSeries.jobId, changed)!);
    return { table, seq: Number(happened.seq) };
  }

  /** Jobs that the table does not have yet have come meanwhile: the log tells of them next time. */
  async #fillColumns(table: JobTable, names: readonly JobColumn[], where: SQL): Promise<void> {
    const { rows } = await this.#database.execute<RawRow>(sql`
      select ${jobs.id} as id, ${sql.join(names.map((name, index) => sql`${columnText(name)} as ${sql.identifier(`value_${index}`)}`), sql`, `)} from ${jobs} where ${where}`);
    const columns = names.map((name, index) => ({ column: table.column(name), field: `value_${index}` }));
    for (const values of rows) {
      const row = table.rowOf(values['id'] as string);
      if (row === undefined) continue;
      for (const { column, field } of columns) column.set(row, values[field] as string | null);
    }
  }

  async #fillMetrics(table: JobTable, keys: readonly string[], where: SQL): Promise<void> {
    const { rows } = await this.#database.execute<MetricRow>(sql`
      select ${metricSeries.jobId} as job_id, ${metricSeries.key} as key, ${metricSeries.lastValue} as last, ${metricSeries.minValue} as min, ${metricSeries.minStep}::float8 as min_step,
        ${metricSeries.maxValue} as max, ${metricSeries.maxStep}::float8 as max_step from ${metricSeries} where ${textIn(metricSeries.key, keys)} and ${where}`);
    for (const { job_id, key, last, min, min_step, max, max_step } of rows) {
      const row = table.rowOf(job_id);
      if (row !== undefined) table.metric(key).set(row, { last, min, minStep: min_step, max, maxStep: max_step });
    }
  }

  #makeRoom(): void {
    let size = 0;
    for (const { table } of this.#held.values()) size += table.size;
    for (const [id, { table }] of this.#held) {
      if (size <= this.#limits.maxNumbers) return;
      this.#held.delete(id);
      size -= table.size;
    }
  }
}

type MetricRow = { job_id: string; key: string; last: number | null; min: number | null; min_step: number | null; max: number | null; max_step: number | null };

/** The value of a column as the text of JSON. */
function columnText(name: JobColumn): SQL {
  switch (name) {
    case 'state': return sql`to_json(${jobs.state})::text`;
    case 'tags': return sql`to_json(${jobs.tags})::text`;
    case 'sweepId': return sql`to_json(${jobs.sweepId})::text`;
    case 'cluster': return sql`to_json(${jobs.cluster})::text`;
    case 'priority': return sql`${jobs.priority}::text`;
    case 'createdAt': return sql`(extract(epoch from ${jobs.createdAt}) * 1000000)::bigint::text`;
    default: return sql`left(${configValue(name.slice('config:'.length))}::text, ${MAX_VALUE_LENGTH + 1})`;
  }
}
