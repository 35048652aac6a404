/** Changes that people ask for on jobs: each one statement, whatever the number of jobs. */
import { and, asc, sql, type SQL } from 'drizzle-orm';
import type { PgUpdateSetSource } from 'drizzle-orm/pg-core';
import type { JobFilter } from '../../domain/job-filter.ts';
import { PRIORITY_MAX, PRIORITY_MIN } from '../../domain/job-spec.ts';
import type { JobState } from '../../domain/states.ts';
import type { Reader, Transaction } from '../database.ts';
import { jobFilterCondition, textIn, uuidIn } from '../read/job-filter.ts';
import { jobs, metricSeries } from '../tables/index.ts';

/** What decides whether a change makes sense. */
export interface ChangeableJob {
  jobId: string;
  experimentId: string;
  sweepId: string | null;
  state: JobState;
  priority: number;
  tags: string[];
  cancelRequested: boolean;
  holdRequested: boolean;
}

export type JobChange =
  /** It was never submitted, so it ends here. */
  | { kind: 'CANCEL_QUEUED' }
  | { kind: 'REQUEST_CANCEL' }
  | { kind: 'HOLD_QUEUED' }
  | { kind: 'REQUEST_HOLD' }
  | { kind: 'RELEASE_HELD' }
  | { kind: 'REQUEST_RELEASE' }
  /** Back into the queue as if new, but for its attempts and what they left. */
  | { kind: 'RETRY'; priorityBoost: number; tags: string[] }
  | { kind: 'SET_PRIORITY'; priority: number }
  | { kind: 'CHANGE_TAGS'; add: string[]; remove: string[] };

export const CANCELLED_IN_QUEUE_REASON = 'cancelled before it was submitted';

const columns = {
  jobId: jobs.id, experimentId: jobs.experimentId, sweepId: jobs.sweepId, state: jobs.state, priority: jobs.priority, tags: jobs.tags,
  cancelRequested: jobs.cancelRequested, holdRequested: jobs.holdRequested,
};

export type ChangeSelection = { ids: readonly string[] } | { filter: JobFilter; states: readonly JobState[] };

/** The selected jobs by id, at most `limit`. */
export async function readChangeableJobs(reader: Reader, selection: ChangeSelection, limit: number): Promise<ChangeableJob[]> {
  return reader.select(columns).from(jobs).where(conditionOf(selection)).orderBy(asc(jobs.id)).limit(limit);
}

/** The same, and nobody else changes them before this transaction ends. */
export async function lockChangeableJobs(transaction: Transaction, selection: ChangeSelection, limit: number): Promise<ChangeableJob[]> {
  return transaction.select(columns).from(jobs).where(conditionOf(selection)).orderBy(asc(jobs.id)).limit(limit).for('no key update');
}

/** How many jobs the filter selects that are in none of these states, and the first of them by id. */
export async function readPassedOverJobs(
  reader: Reader, selection: { filter: JobFilter; states: readonly JobState[] }, limit: number,
): Promise<{ jobs: ChangeableJob[]; count: number }> {
  const otherState = sql`not (${textIn(jobs.state, selection.states)})`;
  const rows = await reader.select({ ...columns, count: sql<number>`(count(*) over ())::int` }).from(jobs)
    .where(and(jobFilterCondition(selection.filter), otherState)).orderBy(asc(jobs.id)).limit(limit);
  return { jobs: rows.map(({ count: _, ...job }) => job), count: rows[0]?.count ?? 0 };
}

/** Those of the jobs of which a series is only a roll-up any more: nothing can be logged again at its early steps. */
export async function readRolledUpIds(reader: Reader, selected: readonly Pick<ChangeableJob, 'jobId'>[]): Promise<Set<string>> {
  const { rows } = await reader.execute<{ job_id: string }>(sql`
    select distinct job_id from metric_series where ${uuidIn(metricSeries.jobId, selected.map(({ jobId }) => jobId))} and rolled_up_below_step is not null`);
  return new Set(rows.map((row) => row.job_id));
}

function conditionOf(selection: ChangeSelection): SQL | undefined {
  return 'ids' in selection ? uuidIn(jobs.id, selection.ids) : and(jobFilterCondition(selection.filter), textIn(jobs.state, selection.states));
}

/** Makes the change on jobs that were locked and found fit for it. */
export async function applyJobChange(transaction: Transaction, change: JobChange, jobIds: readonly string[]): Promise<void> {
  if (change.kind === 'RETRY') {
    await transaction.execute(sql`delete from results where job_id = any(${sql.param([...jobIds])}::uuid[])`);
  }
  await transaction.update(jobs).set(assignments(change)).where(uuidIn(jobs.id, jobIds));
}

function assignments(change: JobChange): PgUpdateSetSource<typeof jobs> {
  switch (change.kind) {
    case 'CANCEL_QUEUED':
      return { state: 'CANCELLED', stateReason: CANCELLED_IN_QUEUE_REASON, finishedAt: sql`now()`, harvestedAt: sql`now()` };
    case 'REQUEST_CANCEL': return { cancelRequested: true };
    case 'HOLD_QUEUED': return { state: 'HELD', stateReason: null };
    case 'REQUEST_HOLD': return { holdRequested: true };
    case 'RELEASE_HELD': return { state: 'QUEUED', stateReason: null, holdRequested: false };
    case 'REQUEST_RELEASE': return { holdRequested: false };
    case 'RETRY':
      return {
        state: 'QUEUED', stateReason: null, cancelRequested: false, holdRequested: false, heldOnCluster: false,
        startedAt: null, finishedAt: null, harvestedAt: null, notBefore: null, retryCounts: {}, tags: tagsWith(change.tags, []),
        priority: sql`least(${PRIORITY_MAX}, greatest(${PRIORITY_MIN}, ${jobs.priority} + ${change.priorityBoost}))`,
      };
    case 'SET_PRIORITY': return { priority: change.priority };
    case 'CHANGE_TAGS': return { tags: tagsWith(change.add, change.remove) };
  }
}

/** The tags in their order, new ones behind. */
function tagsWith(add: string[], remove: string[]): SQL {
  return sql`array(select tag from unnest(${jobs.tags} || ${sql.param(add)}::text[]) with ordinality as t(tag, position)
    where tag <> all(${sql.param(remove)}::text[]) group by tag order by min(position))`;
}
