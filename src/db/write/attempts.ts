/** Brings attempts and their jobs to the state that the evidence shows. */
import { sql } from 'drizzle-orm';
import type { AttemptChange } from '../../domain/attempt-change.ts';
import type { NewEvent } from '../../domain/events.ts';
import { announcedPath, isTerminalAttemptState, jobStateOf, type AttemptState, type JobState } from '../../domain/states.ts';
import type { Database, Transaction } from '../database.ts';
import { transact } from '../transaction.ts';

export interface ChangedAttempt {
  jobId: string;
  attemptNumber: number;
  experimentId: string;
  sweepId: string | null;
  /** State before the change. */
  from: AttemptState;
  gpuCount: number;
  change: AttemptChange;
}

/** Stores the changes in one statement for attempts and one for jobs, whatever their number. Answers the events to append. */
export async function applyAttemptChanges(transaction: Transaction, changed: ChangedAttempt[]): Promise<NewEvent[]> {
  if (changed.length === 0) return [];
  const rows = changed.map(({ jobId, attemptNumber, from, gpuCount, change }) => ({
    job_id: jobId, number: attemptNumber, from_state: from, gpu_count: gpuCount, job_state: jobStateOf(change.state),
    ended: isTerminalAttemptState(change.state), ...change,
  }));
  const updated = await transaction.execute<{ job_id: string; number: number; job_was: JobState; current: boolean; moved: string[] }>(sql`
    with seen as (
      select * from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as t(
        job_id uuid, number int, from_state text, gpu_count int, job_state text, ended boolean, state text, reason text, "slurmJobId" text,
        "nodeList" text, "exitCode" int, signal int, "estimatedStartAt" timestamptz, "startedAt" timestamptz, "finishedAt" timestamptz, "elapsedSeconds" float8, "maxRssBytes" bigint)),
    attempt as (
      update attempts a set state = seen.state, reason = seen.reason, slurm_job_id = coalesce(nullif(seen."slurmJobId", ''), a.slurm_job_id),
        node_list = seen."nodeList", exit_code = seen."exitCode", signal = seen.signal, estimated_start_at = seen."estimatedStartAt",
        started_at = coalesce(seen."startedAt", a.started_at),
        finished_at = case when seen.ended then coalesce(seen."finishedAt", now()) end, elapsed_seconds = seen."elapsedSeconds",
        max_rss_bytes = greatest(a.max_rss_bytes, seen."maxRssBytes"), gpu_seconds = seen."elapsedSeconds" * seen.gpu_count
      from seen where a.job_id = seen.job_id and a.number = seen.number and a.state = seen.from_state
        -- What was said of another execution than the one that has it by now is no news of it.
        and coalesce(nullif(seen."slurmJobId", ''), a.slurm_job_id) is not distinct from coalesce(a.slurm_job_id, nullif(seen."slurmJobId", ''))
      returning a.job_id, a.number, a.started_at, a.finished_at, a.reason, seen.job_state, seen.ended),
    was as (select j.id, j.state, j.started_at, j.finished_at from jobs j join attempt on attempt.job_id = j.id),
    job as (
      update jobs j set state = attempt.job_state, state_reason = attempt.reason, started_at = coalesce(j.started_at, attempt.started_at),
        finished_at = case when attempt.ended then attempt.finished_at end, harvested_at = null
      from attempt where j.id = attempt.job_id and j.attempt_count = attempt.number and j.state not in ('HELD', 'QUEUED')
      returning j.id, j.started_at, j.finished_at)
    select attempt.job_id, attempt.number, was.state as job_was, (job.id is not null) as current,
      case when job.id is null then '{}'::text[] else array_remove(array[
        case when job.started_at is distinct from was.started_at then 'startedAt' end, case when job.finished_at is distinct from was.finished_at then 'finishedAt' end], null) end as moved
    from attempt join was on was.id = attempt.job_id left join job on job.id = attempt.job_id`);
  const before = new Map(updated.rows.map((row) => [`${row.job_id} ${row.number}`, row]));
  return changed.flatMap((attempt) => {
    const row = before.get(`${attempt.jobId} ${attempt.attemptNumber}`);
    return row === undefined ? [] : eventsOf(attempt, row.current ? row.job_was : null, row.moved);
  });
}

/**
 * `jobWas` is null when a newer attempt has taken over the job, or it waits for one (it was retried), whose state then stays. `moved` names the times
 * of the job that are others now: where the states tell nothing new, they are an event of their own.
 */
function eventsOf(attempt: ChangedAttempt, jobWas: JobState | null, moved: string[]): NewEvent[] {
  const { change, from } = attempt;
  const about = { experimentId: attempt.experimentId, sweepId: attempt.sweepId, jobId: attempt.jobId, attemptNumber: attempt.attemptNumber };
  const events: NewEvent[] = [];
  if (from !== change.state) {
    events.push({ ...about, kind: 'ATTEMPT_STATE_CHANGED', payload: { from, to: change.state, reason: change.reason, slurmJobId: change.slurmJobId } });
  }
  let previous = jobWas;
  const path = jobWas === null ? [] : announcedPath(jobWas, jobStateOf(change.state), change.startedAt !== null);
  for (const [index, to] of path.entries()) {
    const reason = index === path.length - 1 ? change.reason : null;
    events.push({ ...about, kind: 'JOB_STATE_CHANGED', payload: { from: previous, to, reason } });
    previous = to;
  }
  if (events.length === 0 && moved.length > 0) events.push({ ...about, kind: 'JOB_UPDATED', payload: { changed: moved } });
  return events;
}

/** What the log files and error.txt of an attempt say at their end. Absent values stay as they were. */
export interface AttemptText {
  jobId: string;
  attemptNumber: number;
  stdoutTail: string | null;
  stderrTail: string | null;
  errorText: string | null;
}

export async function storeAttemptTexts(transaction: Transaction, texts: AttemptText[]): Promise<void> {
  if (texts.length === 0) return;
  await transaction.execute(sql`
    update attempts a set stdout_tail = coalesce(t."stdoutTail", a.stdout_tail), stderr_tail = coalesce(t."stderrTail", a.stderr_tail),
      error_text = coalesce(t."errorText", a.error_text)
    from jsonb_to_recordset(${JSON.stringify(texts)}::jsonb)
      as t("jobId" uuid, "attemptNumber" int, "stdoutTail" text, "stderrTail" text, "errorText" text)
    where a.job_id = t."jobId" and a.number = t."attemptNumber"`);
}

/** Writes down how many jobs are before each waiting attempt, by its id on the cluster; of all others of the cluster it is not known. */
export async function recordJobsAhead(database: Database, cluster: string, jobsAhead: ReadonlyMap<string, number>): Promise<void> {
  await transact(database, (transaction) => transaction.execute(sql`
    update attempts a set jobs_ahead = said.count
    from attempts waiting
    left join unnest(${sql.param([...jobsAhead.keys()])}::text[], ${sql.param([...jobsAhead.values()])}::int[]) as said(id, count) on said.id = waiting.slurm_job_id
    where waiting.cluster = ${cluster} and waiting.state = 'PENDING' and a.job_id = waiting.job_id and a.number = waiting.number
      and a.jobs_ahead is distinct from said.count`));
}

/** Notes that the cluster took a hold or a release. */
export async function markHeldOnCluster(transaction: Transaction, jobIds: string[], held: boolean): Promise<void> {
  await transaction.execute(sql`update jobs set held_on_cluster = ${held} where id = any(${sql.param(jobIds)}::uuid[])`);
}
