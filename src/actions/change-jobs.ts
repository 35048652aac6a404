/** How every change on selected jobs runs: select and lock, decide for each, change set by set, append the events. */
import type { Reader, Transaction } from '../db/database.ts';
import { transact } from '../db/transaction.ts';
import { appendEvents } from '../db/write/events.ts';
import {
  applyJobChange, CANCELLED_IN_QUEUE_REASON, lockChangeableJobs, readChangeableJobs, readPassedOverJobs, type ChangeableJob, type ChangeSelection, type JobChange,
} from '../db/write/job-changes.ts';
import { keepAnswer, type IdempotencyClaim } from '../db/write/idempotency.ts';
import { UserError } from '../domain/errors.ts';
import type { NewEvent } from '../domain/events.ts';
import { narrows, type JobFilter } from '../domain/job-filter.ts';
import type { JsonObject } from '../domain/job-spec.ts';
import { JOB_STATES, type JobState } from '../domain/states.ts';
import type { ActionContext } from './action-context.ts';
import { claimOrKeptAnswer } from './answer-once.ts';
import { unknownTargets } from './filter-faults.ts';
import { throwFaults } from './input-faults.ts';

/** Bounds one transaction: the rows it locks, and the events it appends. */
export const MAX_JOBS_PER_CHANGE = 25_000;
/** So many unknown ids are named in an error. */
const MAX_NAMED = 20;
/** So many jobs that a filter selects and that do not change are named, each with the reason. */
const MAX_UNCHANGED_NAMED = 100;

/** What a change of jobs works with. */
export type ChangeContext = Pick<ActionContext, 'database' | 'tokenName' | 'clusters'>;

/** Exactly one of `ids` and `filter`. */
export interface JobSelection {
  ids?: string[] | null;
  /** Jobs in a state that the change does not apply to stay as they are. */
  filter?: JobFilter | null;
  /** True: answers what would change and changes nothing. */
  dryRun?: boolean | null;
}

export interface JobChangeAnswer {
  changedJobIds: string[];
  /** Every job that the ids name and that did not change; of those that a filter selects at most 100. */
  unchanged: UnchangedJob[];
  /** All that were selected, changed or not. */
  matchedCount: number;
}

interface UnchangedJob {
  jobId: string;
  reason: string;
}

export interface ChangeRule<Change extends JobChange> {
  /** States in which a job may change. */
  states: readonly JobState[];
  /** The change for a job, or why there is none. */
  decide(job: ChangeableJob): Change | string;
  /** What else keeps jobs from this change, by job; asked once the jobs are locked. */
  readObstacles?(reader: Reader, jobs: readonly ChangeableJob[]): Promise<ReadonlyMap<string, { reason: string }>>;
}

/** Throws UserError NOT_FOUND for unknown ids, NOT_FOUND for what a filter names and is not there, LIMIT_EXCEEDED for more than 25,000 jobs, BAD_USER_INPUT for a selection that is none. */
export async function changeJobs<Change extends JobChange>(
  context: ChangeContext, selection: JobSelection, rule: ChangeRule<Change>, claim: IdempotencyClaim | null = null,
): Promise<JobChangeAnswer> {
  const chosen = await toChangeSelection(context, selection, rule.states);
  const reasonOf = (job: ChangeableJob): string => reasonIn(rule.decide(job));
  if (selection.dryRun === true) {
    const selected = checkSelected(chosen, await readChangeableJobs(context.database, chosen, MAX_JOBS_PER_CHANGE + 1));
    return withPassedOver(toAnswer(await decideAll(context.database, selected, rule)), await readPassedOver(context.database, chosen), reasonOf);
  }
  return changeOnce(context, claim, async (transaction) => {
    const selected = checkSelected(chosen, await lockChangeableJobs(transaction, chosen, MAX_JOBS_PER_CHANGE + 1));
    const decisions = await decideAll(transaction, selected, rule);
    const answer = withPassedOver(toAnswer(decisions), await readPassedOver(transaction, chosen), reasonOf);
    const groups = new Map<string, { change: Change; jobIds: string[] }>();
    for (const { job, verdict } of decisions) {
      if (typeof verdict === 'string') continue;
      const key = JSON.stringify(verdict);
      const group = groups.get(key) ?? { change: verdict, jobIds: [] };
      group.jobIds.push(job.jobId);
      groups.set(key, group);
    }
    for (const { change, jobIds } of groups.values()) await applyJobChange(transaction, change, jobIds);
    return { answer, events: decisions.flatMap(({ job, verdict }) => (typeof verdict === 'string' ? [] : [eventOf(job, verdict, context.tokenName)])) };
  });
}

/** Runs a change in a transaction: once for a claim, whose callers all get the same answer. */
export async function changeOnce(
  { database }: Pick<ChangeContext, 'database'>, claim: IdempotencyClaim | null, work: (transaction: Transaction) => Promise<{ answer: JobChangeAnswer; events: NewEvent[] }>,
): Promise<JobChangeAnswer> {
  return transact(database, async (transaction) => {
    const kept = claim === null ? null : await claimOrKeptAnswer(transaction, claim);
    if (kept !== null) return kept as unknown as JobChangeAnswer;
    const { answer, events } = await work(transaction);
    if (claim !== null) await keepAnswer(transaction, claim, answer as unknown as JsonObject);
    await appendEvents(transaction, events);
    return answer;
  });
}

function reasonIn(verdict: JobChange | string): string {
  if (typeof verdict !== 'string') throw new Error('a job changes in a state that the change does not apply to');
  return verdict;
}

interface Decision<Change> {
  job: ChangeableJob;
  verdict: Change | string;
}

async function decideAll<Change extends JobChange>(reader: Reader, selected: ChangeableJob[], rule: ChangeRule<Change>): Promise<Decision<Change>[]> {
  const obstacles = await rule.readObstacles?.(reader, selected);
  return selected.map((job) => {
    const verdict = rule.decide(job);
    return { job, verdict: typeof verdict === 'string' ? verdict : obstacles?.get(job.jobId)?.reason ?? verdict };
  });
}

function toAnswer(decisions: Decision<JobChange>[]): JobChangeAnswer {
  const answer: JobChangeAnswer = { changedJobIds: [], unchanged: [], matchedCount: decisions.length };
  for (const { job: { jobId }, verdict } of decisions) {
    if (typeof verdict === 'string') answer.unchanged.push({ jobId, reason: verdict });
    else answer.changedJobIds.push(jobId);
  }
  return answer;
}

/** Jobs that a filter selects in a state in which none changes; to be read before anything is changed. */
export type PassedOver = Awaited<ReturnType<typeof readPassedOverJobs>>;

/** Null where the ids say which jobs are meant. */
export async function readPassedOver(reader: Reader, chosen: ChangeSelection): Promise<PassedOver | null> {
  if ('ids' in chosen) return null;
  return chosen.states.length === JOB_STATES.length ? { jobs: [], count: 0 } : readPassedOverJobs(reader, chosen, MAX_UNCHANGED_NAMED);
}

/** The answer with the jobs that were passed over counted, and the first of them named. */
export function withPassedOver(answer: JobChangeAnswer, passedOver: PassedOver | null, reasonOf: (job: ChangeableJob) => string): JobChangeAnswer {
  if (passedOver === null) return answer;
  const named = passedOver.jobs.map((job) => ({ jobId: job.jobId, reason: reasonOf(job) }));
  return { ...answer, unchanged: [...answer.unchanged, ...named].slice(0, MAX_UNCHANGED_NAMED), matchedCount: answer.matchedCount + passedOver.count };
}

/** Throws UserError for a selection that is none, or that names what is not there. */
export async function toChangeSelection(context: ChangeContext, { ids, filter }: JobSelection, states: readonly JobState[]): Promise<ChangeSelection> {
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
  throwFaults(await unknownTargets(context, filter ?? {}));
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
