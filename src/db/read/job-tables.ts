/**
 * Tables in memory of the large experiments that somebody looks at. Each is brought up to date before it answers: the log tells which jobs
 * have changed since, and these are read anew. So an answer holds whatever was committed when it was asked for.
 */
import { setImmediate } from 'node:timers/promises';
import { sql, type SQL } from 'drizzle-orm';
import pLimit from 'p-limit';
import { emptyColumn, JobTable, MetricColumn, type AnyColumn, type JobColumn, type TableNeeds } from '../../domain/job-table.ts';
import type { Database } from '../database.ts';
import { sqlStateOf } from '../errors.ts';
import { events, jobs } from '../tables/index.ts';
import { readColumns, readMetrics, readNameRanks } from './job-table-columns.ts';

export interface JobTableLimits {
  /** Smaller experiments are left to the database, which answers as soon. */
  minJobs: number;
  /** Larger ones, too: reading all of one would take too long. */
  maxJobs: number;
  /** Numbers, of all tables together: the one used longest ago goes first. */
  maxNumbers: number;
  /** When more has happened since, the table is read anew as a whole. */
  maxEvents: number;
  /** A question about more columns and metrics is left to the database. */
  maxNeeds: number;
  /** Jobs read by one statement: the server answers others in between. */
  jobsPerRead: number;
}

/** 240 MB at the most; one experiment of 100,000 jobs with five values and two metrics takes 25 MB. */
const DEFAULT_LIMITS: JobTableLimits = { minJobs: 2000, maxJobs: 1_000_000, maxNumbers: 30_000_000, maxEvents: 20_000, maxNeeds: 20, jobsPerRead: 20_000 };
/** Tables that are being read from the database at once, of all experiments: each takes a connection and memory of its own. */
const MAX_LOADS = 2;
/** What was not to be read in time, or had no room, is not tried again so soon. */
const RETRY_AFTER_MS = 5 * 60_000;
const STATEMENT_TIMED_OUT = '57014';

/** Where to read from. */
export interface JobSources {
  database: Database;
  tables: JobTables;
}

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
  readonly #loads = pLimit(MAX_LOADS);
  /** By what could not be loaded, the time (ms since 1970) from which it is tried again. */
  readonly #retryAt = new Map<string, number>();

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

  /** Whether the table of the experiment is here with all that is needed: then it answers sooner than the database. */
  holds(experimentId: string, { columns, metrics }: TableNeeds): boolean {
    const table = this.#held.get(experimentId)?.table;
    return table !== undefined && columns.every((name) => table.columns.has(name)) && metrics.every((key) => table.metrics.has(key));
  }

  /** What `use` makes of the tables of those experiments that are large, each by its place in the list; null for the others. */
  async readEach<Answer>(experimentIds: readonly string[], needs: (index: number) => TableNeeds, use: (table: JobTable, index: number) => Answer): Promise<(Answer | null)[]> {
    const large = await this.largeAmong(experimentIds);
    const answers: (Answer | null)[] = [];
    for (const [index, id] of experimentIds.entries()) answers.push(large.has(id) ? await this.read(id, needs(index), (table) => use(table, index)) : null);
    return answers;
  }

  /** The same for one experiment. */
  async readLarge<Answer>(experimentId: string, needs: TableNeeds, use: (table: JobTable) => Answer): Promise<Answer | null> {
    const [answer] = await this.readEach([experimentId], () => needs, use);
    return answer ?? null;
  }

  /**
   * What `use` makes of the table of a large experiment; it must not keep the table, which changes with the next question. Null where the database
   * has to answer: too many values are asked for, or they are too long to be held, have no room or cannot be read in time.
   */
  async read<Answer>(experimentId: string, asked: TableNeeds, use: (table: JobTable) => Answer): Promise<Answer | null> {
    const needs = { columns: [...new Set(asked.columns)], metrics: [...new Set(asked.metrics)] };
    if (needs.columns.length + needs.metrics.length > this.#limits.maxNeeds) return null;
    const before = this.#turns.get(experimentId);
    const turn = (async (): Promise<Answer | null> => {
      // Its failure is told to whoever asked then.
      await before?.catch(() => undefined);
      const table = await this.#upToDate(experimentId, needs);
      if (table === null || !needs.columns.every((name) => table.loaded(name).isWhole)) return null;
      const answer = use(table);
      // Keys that nothing has would take the room of those that are used.
      for (const key of needs.metrics) if (table.metric(key).isEmpty) table.metrics.delete(key);
      return answer;
    })();
    this.#turns.set(experimentId, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(experimentId) === turn) this.#turns.delete(experimentId);
    }
  }

  async #upToDate(experimentId: string, needs: TableNeeds): Promise<JobTable | null> {
    const held = this.#held.get(experimentId);
    // Away while it changes: one that was left half changed is never seen.
    this.#held.delete(experimentId);
    const current = (held && await this.#inTime([experimentId], () => this.#followLog(experimentId, held)))
      ?? await this.#inTime([experimentId], () => this.#loads(() => this.#begin(experimentId)));
    if (!current) return null;
    this.#held.set(experimentId, current);
    const { table } = current;
    const columns = needs.columns.filter((name) => !table.columns.has(name));
    const metrics = needs.metrics.filter((key) => !table.metrics.has(key));
    const isExtended = columns.length + metrics.length === 0 || await this.#extend(experimentId, table, { columns, metrics }, needs);
    // It may have lost its place while it was extended.
    this.#held.delete(experimentId);
    this.#held.set(experimentId, current);
    this.#makeRoom();
    return isExtended ? table : null;
  }

  /** Adds the missing columns and metrics, all of them or none. Answers whether it did. */
  async #extend(experimentId: string, table: JobTable, missing: TableNeeds, needs: TableNeeds): Promise<boolean> {
    const { maxNumbers } = this.#limits;
    if (table.sizeOfIds + table.leastSizeOf(needs) > maxNumbers) return false;
    if (table.size + table.leastSizeOf(missing) > maxNumbers) table.keepOnly(needs);
    const names = [...missing.columns.map((name) => `${experimentId} ${name}`), ...missing.metrics.map((key) => `${experimentId} metric:${key}`)];
    const columns = new Map<JobColumn, AnyColumn>();
    const metrics = new Map<string, MetricColumn>();
    const room = maxNumbers - table.size;
    const isFilled = await this.#inTime(names, () => this.#loads(async () => {
      for (const name of missing.columns) columns.set(name, emptyColumn(name, table.ids.length));
      for (const key of missing.metrics) metrics.set(key, new MetricColumn(table.ids.length));
      const ranks = columns.get('nameRank');
      if (ranks !== undefined) await readNameRanks(this.#database, table, ranks, experimentId);
      return this.#fill(table, { columns, metrics }, table.ids, room);
    }));
    if (isFilled === false) {
      // Without what others asked for there may be room the next time.
      const sizeBefore = table.size;
      table.keepOnly(needs);
      if (table.size === sizeBefore) this.#tryLater(names);
    }
    if (!isFilled) return false;
    for (const [name, column] of columns) table.columns.set(name, column);
    for (const [key, metric] of metrics) table.metrics.set(key, metric);
    return true;
  }

  /** What `load` gives; null when the database takes too long for it, or did so some minutes ago. */
  async #inTime<Loaded>(names: readonly string[], load: () => Promise<Loaded>): Promise<Loaded | null> {
    const now = Date.now();
    if (names.some((name) => (this.#retryAt.get(name) ?? 0) > now)) return null;
    try {
      return await load();
    } catch (error) {
      if (sqlStateOf(error) !== STATEMENT_TIMED_OUT) throw error;
      this.#tryLater(names);
      return null;
    }
  }

  #tryLater(names: readonly string[]): void {
    const now = Date.now();
    for (const [name, time] of this.#retryAt) if (time <= now) this.#retryAt.delete(name);
    for (const name of names) this.#retryAt.set(name, now + RETRY_AFTER_MS);
  }

  async #begin(experimentId: string): Promise<HeldTable> {
    // Before anything is read: what happens meanwhile is read twice, never missed.
    const { rows: [newest] } = await this.#database.execute<{ seq: string }>(sql`select coalesce(max(${events.seq}), 0) as seq from ${events} where ${events.experimentId} = ${experimentId}`);
    const table = new JobTable();
    const { rows } = await this.#database.execute<{ id: string }>(sql`select ${jobs.id} as id from ${jobs} where ${jobs.experimentId} = ${experimentId}`);
    for (const [row, { id }] of rows.entries()) {
      if (row % this.#limits.jobsPerRead === this.#limits.jobsPerRead - 1) await setImmediate();
      table.addJob(id);
    }
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
    // The names of new jobs lie between those of others.
    if (changed.some((id) => table.rowOf(id) === undefined)) table.columns.delete('nameRank');
    for (const id of changed) table.addJob(id);
    await this.#fill(table, table, changed, Infinity);
    return { table, seq: Number(happened.seq) };
  }

  /** Reads the columns and metrics of these jobs. False, and not all is read, when the values have no room, in numbers. */
  async #fill(table: JobTable, { columns, metrics }: Pick<JobTable, 'columns' | 'metrics'>, jobIds: readonly string[], room: number): Promise<boolean> {
    const { jobsPerRead } = this.#limits;
    for (let start = 0; start < jobIds.length; start += jobsPerRead) {
      const some = jobIds.slice(start, start + jobsPerRead);
      await readColumns(this.#database, table, columns, some);
      await readMetrics(this.#database, table, metrics, some);
      let size = 0;
      for (const column of [...columns.values(), ...metrics.values()]) size += column.size;
      if (size > room) return false;
      await setImmediate();
    }
    return true;
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
