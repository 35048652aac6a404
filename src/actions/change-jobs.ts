/** How every change on selected jobs runs: select and lock, decide for each, change set by set, append the events. */
import type { Database } from '../db/database.ts';
import { transact } from '../db/transaction.ts';
import { appendEvents } from '../db/write/events.ts';
import {
  applyJobChange, CANCELLED_IN_QUEUE_REASON, lockChangeableJobs, readChangeableJobs, type ChangeableJob, type ChangeSelection, type JobChange,
} from '../db/write/job-changes.ts';
import { UserError } from '../domain/errors.ts';
import type { NewEvent } from '../domain/events.ts';
import { narrows, type JobFilter } from '../domain/job-filter.ts';
import type { JobState } from '../domain/states.ts';
import type { ActionContext } from './action-context.ts';

/** Bounds one transaction: the rows it locks, and the events it appends. */
export const MAX_JOBS_PER_CHANGE = 25_000;
/** So many unknown ids are named in an error. */
const MAX_NAMED = 20;

/** Exactly one of `ids` and `filter`. */
export interface JobSelection {
  ids?: string[] | null;
  /** Jobs in a state that the change does not apply to are passed over. */
  filter?: JobFilter | null;
  /** True: answers what would change and changes nothing. */
  dryRun?: boolean | null;
}

export interface JobChangeAnswer {
  changedJobIds: string[];
  unchanged: { jobId: string; reason: string }[];
}

export interface ChangeRule<Change extends JobChange> {
  /** States in which a job that the filter selects is looked at. */
  states: readonly JobState[];
  /** The change for a job, or why there is none. */
  decide(job: ChangeableJob): Change | string;
}

/** Throws UserError NOT_FOUND for unknown ids, LIMIT_EXCEEDED for more than 25,000 jobs, BAD_USER_INPUT for a selection that is none. */
export async function changeJobs<Change extends JobChange>(
  context: Pick<ActionContext, 'database' | 'tokenName'>, selection: JobSelection, rule: ChangeRule<Change>,
): Promise<JobChangeAnswer> {
  const chosen = toChangeSelection(selection, rule.states);
  if (selection.dryRun === true) {
    return toAnswer(decideAll(checkSelected(chosen, await readJobs(context.database, chosen)), rule));
  }
  return transact(context.database, async (transaction) => {
    const selected = checkSelected(chosen, await lockChangeableJobs(transaction, chosen, MAX_JOBS_PER_CHANGE + 1));
    const decisions = decideAll(selected, rule);
    const groups = new Map<string, { change: Change; jobIds: string[] }>();
    for (const { job, verdict } of decisions) {
      if (typeof verdict === 'string') continue;
      const key = JSON.stringify(verdict);
      const group = groups.get(key) ?? { change: verdict, jobIds: [] };
      group.jobIds.push(job.jobId);
      groups.set(key, group);
    }
    for (const { change, jobIds } of groups.values()) await applyJobChange(transaction, change, jobIds);
    await appendEvents(transaction, decisions.flatMap(({ job, verdict }) => (typeof verdict === 'string' ? [] : [eventOf(job, verdict, context.tokenName)])));
    return toAnswer(decisions);
  });
}

interface Decision<Change> {
  job: ChangeableJob;
  verdict: Change | string;
}

function decideAll<Change extends JobChange>(selected: ChangeableJob[], rule: ChangeRule<Change>): Decision<Change>[] {
  return selected.map((job) => ({ job, verdict: rule.decide(job) }));
}

function toAnswer(decisions: Decision<JobChange>[]): JobChangeAnswer {
  const answer: JobChangeAnswer = { changedJobIds: [], unchanged: [] };
  for (const { job: { jobId }, verdict } of decisions) {
    if (typeof verdict === 'string') answer.unchanged.push({ jobId, reason: verdict });
    else answer.changedJobIds.push(jobId);
  }
  return answer;
}

async function readJobs(database: Database, chosen: ChangeSelection): Promise<ChangeableJob[]> {
  return readChangeableJobs(database, chosen, MAX_JOBS_PER_CHANGE + 1);
}

/** Throws UserError for a selection that is none. */
export function toChangeSelection({ ids, filter }: JobSelection, states: readonly JobState[]): ChangeSelection {
  if ((ids ?? null) === null && (filter ?? null) === null) throw UserError.of('BAD_USER_INPUT', 'say which jobs: give ids or filter');
  if (ids && filter) throw UserError.of('BAD_USER_INPUT', 'give either ids or filter, not both');
  if (ids) {
    const different = [...new Set(ids.map((id) => id.toLowerCase()))];
    if (different.length > MAX_JOBS_PER_CHANGE) throw tooMany(`${different.length}`, ['ids']);
    return { ids: different };
  }
  if (!narrows(filter ?? {})) {
    throw UserError.of('BAD_USER_INPUT', 'names no condition and would mean every job; if that is meant, name the states', ['filter']);
  }
  return { filter: filter ?? {}, states };
}

/** Throws UserError NOT_FOUND for unknown ids, LIMIT_EXCEEDED for too many jobs. */
export function checkSelected(chosen: ChangeSelection, selected: ChangeableJob[]): ChangeableJob[] {
  if (selected.length > MAX_JOBS_PER_CHANGE) throw tooMany(`more than ${MAX_JOBS_PER_CHANGE}`, ['filter']);
  if (!('ids' in chosen) || selected.length === chosen.ids.length) return selected;
  const found = new Set(selected.map((job) => job.jobId));
  const missing = chosen.ids.filter((id) => !found.has(id));
  const faults = missing.slice(0, MAX_NAMED).map((id) => ({ field: ['ids'], message: `there is no job ${id}`, code: 'NOT_FOUND' as const }));
  if (missing.length > MAX_NAMED) faults.push({ field: ['ids'], message: `and ${missing.length - MAX_NAMED} more`, code: 'NOT_FOUND' });
  throw new UserError(faults);
}

function tooMany(count: string, field: string[]): UserError {
  return UserError.of('LIMIT_EXCEEDED', `selects ${count} jobs; the limit is ${MAX_JOBS_PER_CHANGE} at once, so change them in parts`, field);
}

function eventOf(job: ChangeableJob, change: JobChange, tokenName: string): NewEvent {
  const about = { experimentId: job.experimentId, sweepId: job.sweepId, jobId: job.jobId, attemptNumber: null };
  const moved = (to: JobState, reason: string): NewEvent => ({ ...about, kind: 'JOB_STATE_CHANGED', payload: { from: job.state, to, reason } });
  const updated = (...changed: string[]): NewEvent => ({ ...about, kind: 'JOB_UPDATED', payload: { changed } });
  switch (change.kind) {
    case 'CANCEL_QUEUED': return moved('CANCELLED', CANCELLED_IN_QUEUE_REASON);
    case 'HOLD_QUEUED': return moved('HELD', `held by ${tokenName}`);
    case 'RELEASE_HELD': return moved('QUEUED', `released by ${tokenName}`);
    case 'RETRY': return moved('QUEUED', `retried by ${tokenName}`);
    case 'REQUEST_CANCEL': return updated('cancelRequested');
    case 'REQUEST_HOLD':
    case 'REQUEST_RELEASE': return updated('holdRequested');
    case 'SET_PRIORITY': return updated('priority');
    case 'CHANGE_TAGS': return updated('tags');
  }
}
