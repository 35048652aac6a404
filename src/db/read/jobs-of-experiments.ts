/** Lists, leaderboards and progress of experiments: of the large ones from tables in memory, of all others from the database. Both give the same. */
import { sql } from 'drizzle-orm';
import type { JobFilter } from '../../domain/job-filter.ts';
import { DEFAULT_JOB_ORDER, type JobOrder, type ResultOrder } from '../../domain/job-order.ts';
import type { JobTable, TableNeeds } from '../../domain/job-table.ts';
import { needsOfFilter, rowsThatPass, rowsWithin } from '../../domain/job-table-filter.ts';
import { needsOfOrder, pageOfTable, type TableOrder } from '../../domain/job-table-page.ts';
import { leaderboardOfTable, needsOfLeaderboard, type LeaderboardEntry, type LeaderboardOptions } from '../../domain/leaderboard.ts';
import { PROGRESS_NEEDS, progressFactsOf, summariseProgress, type Progress } from '../../domain/progress.ts';
import type { Database } from '../database.ts';
import { jobs, results } from '../tables/index.ts';
import { uuidIn } from './job-filter.ts';
import type { JobSources } from './job-tables.ts';
import { jobSource, type JobRow } from './jobs.ts';
import { leaderboards, type LeaderboardQuery } from './leaderboard.ts';
import { jobCountsOf, jobPagesOf, type NestedJobs } from './nested.ts';
import { countRows, cursorValues, readPage, type Page, type PageRequest } from './page.ts';
import { progressOfExperiments } from './progress.ts';
import { resultSource, type ResultFilter, type ResultRow } from './results.ts';
import { isUuid } from './uuid.ts';

/**
 * The progress of more large experiments than this is counted by one statement, save of those whose table is there: to load them all one after the
 * other would take longer, and drive out the tables that somebody looks at.
 */
const MAX_PROGRESS_LOADS = 2;

/** The leaderboard of each experiment, in the order asked for. */
export async function leaderboardsOf({ database, tables }: JobSources, queries: readonly LeaderboardQuery[], options: LeaderboardOptions): Promise<LeaderboardEntry[][]> {
  const found = await tables.readEach(queries.map(({ experimentId }) => experimentId), (index) => needsOfLeaderboard(queries[index]!.metric, options),
    (table, index) => leaderboardOfTable(table, queries[index]!.metric, queries[index]!.goal, options));
  return withRest(queries, found, (rest) => leaderboards(database, rest, options));
}

/** Progress of each experiment, in the order asked for. */
export async function progressOf({ database, tables }: JobSources, experimentIds: readonly string[]): Promise<Progress[]> {
  const now = new Date();
  const large = [...await tables.largeAmong(experimentIds)];
  const held = large.filter((id) => tables.holds(id, PROGRESS_NEEDS));
  const found = new Map<string, Progress | null>();
  for (const id of large.length - held.length > MAX_PROGRESS_LOADS ? held : large) {
    found.set(id, await tables.read(id, PROGRESS_NEEDS, (table) => summariseProgress({ ...progressFactsOf(table), now })));
  }
  return withRest(experimentIds, experimentIds.map((id) => found.get(id) ?? null), (rest) => progressOfExperiments(database, rest));
}

/** A page of the jobs of each parent, in the order asked for. Throws UserError when the cursor is not one of this list. */
export async function jobPagesOfParents(sources: JobSources, wanted: NestedJobs, request: PageRequest, parentIds: readonly string[]): Promise<Page<JobRow>[]> {
  const fromDatabase = (ids: readonly string[]): Promise<Page<JobRow>[]> => jobPagesOf(sources.database, wanted, request, ids);
  if (wanted.parent === 'SWEEP') return fromDatabase(parentIds);
  return pagesOfExperiments(sources, wanted, request, parentIds, fromDatabase);
}

/** How many such jobs each parent has. */
export async function jobCountsOfParents(sources: JobSources, wanted: NestedJobs, parentIds: readonly string[]): Promise<number[]> {
  const fromDatabase = (ids: readonly string[]): Promise<number[]> => jobCountsOf(sources.database, wanted, ids);
  if (wanted.parent === 'SWEEP') return fromDatabase(parentIds);
  return countsOfExperiments(sources, wanted.filter, parentIds, fromDatabase);
}

/** A page of jobs of whatever experiment. Throws UserError when the cursor is not one of this list. */
export async function jobPage(sources: JobSources, filter: JobFilter, order: readonly JobOrder[], request: PageRequest): Promise<Page<JobRow>> {
  const fromDatabase = (): Promise<Page<JobRow>> => readPage(sources.database, jobSource(filter, order), request);
  const one = onlyExperiment(filter);
  if (one === null) return fromDatabase();
  const [page] = await pagesOfExperiments(sources, { filter: one.filter, order }, request, [one.experimentId], async () => [await fromDatabase()]);
  return page!;
}

/** How many such jobs there are. */
export async function jobCount(sources: JobSources, filter: JobFilter): Promise<number> {
  const fromDatabase = (): Promise<number> => countRows(sources.database, jobSource(filter, []));
  const one = onlyExperiment(filter);
  if (one === null) return fromDatabase();
  const [count] = await countsOfExperiments(sources, one.filter, [one.experimentId], async () => [await fromDatabase()]);
  return count!;
}

/** A page of results. Throws UserError when the cursor is not one of this list. */
export async function resultPage({ database, tables }: JobSources, filter: ResultFilter, order: readonly ResultOrder[], request: PageRequest): Promise<Page<ResultRow>> {
  const source = resultSource(filter, order);
  const one = onlyExperiment(filter.jobs);
  const tableOrder = order.length === 0 ? [RESULT_AT] : order.map((term): TableOrder => (term.field === 'FINISHED_AT' ? { ...RESULT_AT, descending: term.descending } : term));
  const needs = one && needsOfResults(one.filter, tableOrder);
  const after = request.after === null ? null : placeOf(cursorValues(source.order, request.after));
  const ids = one && needs && await tables.readLarge(one.experimentId, needs, await judgedBy(database, one.filter, (table, jobFilter) =>
    pageOfTable(table, rowsWithResult(table, jobFilter, filter), tableOrder, request.first + 1, after)));
  if (!ids) return readPage(database, source, request);
  const page = await readPage(database, { ...source, where: uuidIn(results.jobId, ids) }, { first: request.first, after: null });
  // Also where one of them was withdrawn meanwhile.
  return { ...page, hasNextPage: ids.length > request.first };
}

/** How many such results there are. */
export async function resultCount({ database, tables }: JobSources, filter: ResultFilter): Promise<number> {
  const one = onlyExperiment(filter.jobs);
  const needs = one && needsOfResults(one.filter, []);
  const count = one && needs && await tables.readLarge(one.experimentId, needs, await judgedBy(database, one.filter, (table, jobFilter) => rowsWithResult(table, jobFilter, filter).length));
  return count ?? countRows(database, resultSource(filter, []));
}

const RESULT_AT = { field: 'RESULT_AT', descending: false } as const;

/** What a list of results needs of a table; null where only the database can judge the filter. */
function needsOfResults(filter: JobFilter, order: readonly TableOrder[]): TableNeeds | null {
  const needs = needsOf(filter, order);
  return needs && { ...needs, columns: ['resultAt', ...needs.columns] };
}

function rowsWithResult(table: JobTable, jobFilter: JobFilter, { finishedAt }: ResultFilter): number[] {
  const times = table.numbers('resultAt');
  return rowsWithin(table, rowsThatPass(table, jobFilter).filter((row) => !Number.isNaN(times[row])), 'resultAt', finishedAt);
}

/** The experiment that the filter is about, and the rest of the filter; null where it names several or none. */
function onlyExperiment({ experimentIds, ...filter }: JobFilter): { experimentId: string; filter: JobFilter } | null {
  const [experimentId] = experimentIds ?? [];
  return experimentId === undefined || experimentIds?.length !== 1 || !isUuid(experimentId) ? null : { experimentId: experimentId.toLowerCase(), filter };
}

/** What a list needs of a table; null where it is left to the database, which has an index for all jobs by their age. */
function needsOfList(filter: JobFilter, order: readonly JobOrder[]): TableNeeds | null {
  const ofFilter = needsOfFilter(filter);
  const isUnfiltered = ofFilter !== null && ofFilter.columns.length + ofFilter.metrics.length === 0;
  return isUnfiltered && order.every(({ field }) => field === 'CREATED_AT') ? null : needsOf(filter, order);
}

/** Null where only the database can judge the filter. */
function needsOf(filter: JobFilter, order: readonly TableOrder[]): TableNeeds | null {
  const [ofFilter, ofOrder] = [needsOfFilter(filter), needsOfOrder(order)];
  return ofFilter && { columns: [...ofFilter.columns, ...ofOrder.columns], metrics: [...ofFilter.metrics, ...ofOrder.metrics] };
}

/** What `use` makes of a table and of the filter as a table judges it: the database says which letters are the small ones. */
async function judgedBy<Answer>(database: Database, filter: JobFilter, use: (table: JobTable, filter: JobFilter) => Answer): Promise<(table: JobTable) => Answer> {
  if (filter.nameContains === undefined) return (table) => use(table, filter);
  const { rows: [row] } = await database.execute<{ text: string }>(sql`select lower(${filter.nameContains}::text) as text`);
  const judged = { ...filter, nameContains: row!.text };
  return (table) => use(table, judged);
}

async function pagesOfExperiments(
  { database, tables }: JobSources, { filter, order }: { filter: JobFilter; order: readonly JobOrder[] }, request: PageRequest,
  experimentIds: readonly string[], fromDatabase: (experimentIds: readonly string[]) => Promise<Page<JobRow>[]>,
): Promise<Page<JobRow>[]> {
  const tableOrder = order.length === 0 ? DEFAULT_JOB_ORDER : order;
  const needs = needsOfList(filter, tableOrder);
  if (needs === null) return fromDatabase(experimentIds);
  const source = jobSource(filter, order);
  const after = request.after === null ? null : placeOf(cursorValues(source.order, request.after));
  const use = await judgedBy(database, filter, (table, judged) => pageOfTable(table, rowsThatPass(table, judged), tableOrder, request.first + 1, after));
  const chosen = await tables.readEach(experimentIds, () => needs, use);
  // One more than a page, so that the database finds out whether there is more; and it makes the cursors, as for any list.
  const found = await Promise.all(chosen.map(async (ids) => ids && readPage(database, { ...source, where: uuidIn(jobs.id, ids) }, { first: request.first, after: null })));
  return withRest(experimentIds, found, fromDatabase);
}

async function countsOfExperiments(
  { database, tables }: JobSources, filter: JobFilter, experimentIds: readonly string[], fromDatabase: (experimentIds: readonly string[]) => Promise<number[]>,
): Promise<number[]> {
  const needs = needsOfList(filter, []);
  if (needs === null) return fromDatabase(experimentIds);
  const found = await tables.readEach(experimentIds, () => needs, await judgedBy(database, filter, (table, judged) => rowsThatPass(table, judged).length));
  return withRest(experimentIds, found, fromDatabase);
}

/** A cursor ends with the id. */
function placeOf(values: readonly (string | null)[]): { values: (string | null)[]; id: string } {
  return { values: values.slice(0, -1), id: values.at(-1) ?? '' };
}

/** Fills in from the database what was not found. */
async function withRest<Key, Answer>(keys: readonly Key[], found: readonly (Answer | null)[], fromDatabase: (keys: readonly Key[]) => Promise<Answer[]>): Promise<Answer[]> {
  const rest = keys.filter((_, index) => found[index] === null);
  const others = rest.length === 0 ? [] : await fromDatabase(rest);
  let next = 0;
  return found.map((answer) => answer ?? others[next++]!);
}
