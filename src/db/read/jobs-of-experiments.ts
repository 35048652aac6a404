/** Lists and leaderboards of experiments: of the large ones from tables in memory, of all others from the database. Both give the same. */
import type { JobFilter } from '../../domain/job-filter.ts';
import { DEFAULT_JOB_ORDER, type JobOrder } from '../../domain/job-order.ts';
import type { TableNeeds } from '../../domain/job-table.ts';
import { needsOfFilter, rowsThatPass } from '../../domain/job-table-filter.ts';
import { needsOfOrder, pageOfTable } from '../../domain/job-table-page.ts';
import { leaderboardOfTable, needsOfLeaderboard, type LeaderboardEntry, type LeaderboardOptions } from '../../domain/leaderboard.ts';
import type { Database } from '../database.ts';
import { jobs } from '../tables/index.ts';
import { uuidIn } from './job-filter.ts';
import type { JobTables } from './job-tables.ts';
import { jobSource, type JobRow } from './jobs.ts';
import { leaderboards, type LeaderboardQuery } from './leaderboard.ts';
import { jobCountsOf, jobPagesOf, type NestedJobs } from './nested.ts';
import { countRows, cursorValues, readPage, type Page, type PageRequest } from './page.ts';
import { isUuid } from './uuid.ts';

/** Where to read from. */
export interface JobSources {
  database: Database;
  tables: JobTables;
}

/** The leaderboard of each experiment, in the order asked for. */
export async function leaderboardsOf({ database, tables }: JobSources, queries: readonly LeaderboardQuery[], options: LeaderboardOptions): Promise<LeaderboardEntry[][]> {
  const found = await tables.readEach(queries.map(({ experimentId }) => experimentId), (index) => needsOfLeaderboard(queries[index]!.metric, options),
    (table, index) => leaderboardOfTable(table, queries[index]!.metric, queries[index]!.goal, options));
  return withRest(queries, found, (rest) => leaderboards(database, rest, options));
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

/** The experiment that the filter is about, and the rest of the filter; null where it names several or none. */
function onlyExperiment({ experimentIds, ...filter }: JobFilter): { experimentId: string; filter: JobFilter } | null {
  const [experimentId] = experimentIds ?? [];
  return experimentId === undefined || experimentIds?.length !== 1 || !isUuid(experimentId) ? null : { experimentId: experimentId.toLowerCase(), filter };
}

/** What a list needs of a table; null where it is left to the database, which has an index for all jobs by their age. */
function needsOfList(filter: JobFilter, order: readonly JobOrder[]): TableNeeds | null {
  const [ofFilter, ofOrder] = [needsOfFilter(filter), needsOfOrder(order)];
  if (ofFilter === null || ofOrder === null) return null;
  const isUnfiltered = ofFilter.columns.length + ofFilter.metrics.length === 0;
  if (isUnfiltered && order.every(({ field }) => field === 'CREATED_AT')) return null;
  return { columns: [...ofFilter.columns, ...ofOrder.columns], metrics: [...ofFilter.metrics, ...ofOrder.metrics] };
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
  const chosen = await tables.readEach(experimentIds, () => needs, (table) => pageOfTable(table, filter, tableOrder, request.first + 1, after));
  // One more than a page, so that the database finds out whether there is more; and it makes the cursors, as for any list.
  const found = await Promise.all(chosen.map(async (ids) => ids && readPage(database, { ...source, where: uuidIn(jobs.id, ids) }, { first: request.first, after: null })));
  return withRest(experimentIds, found, fromDatabase);
}

async function countsOfExperiments(
  { tables }: JobSources, filter: JobFilter, experimentIds: readonly string[], fromDatabase: (experimentIds: readonly string[]) => Promise<number[]>,
): Promise<number[]> {
  const needs = needsOfList(filter, []);
  if (needs === null) return fromDatabase(experimentIds);
  const found = await tables.readEach(experimentIds, () => needs, (table) => rowsThatPass(table, filter).length);
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
