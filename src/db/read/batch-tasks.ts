/** Whose the tasks of submissions are, also of those that were given up: what a job is that the cluster has under a token of ours. */
import { sql } from 'drizzle-orm';
import type { AttemptState, JobState } from '../../domain/states.ts';
import type { Reader } from '../database.ts';
import type { BatchState } from '../tables/index.ts';

/** One task of a batch, and the job that it was to execute. */
export interface BatchTask {
  batchId: string;
  token: string;
  batchState: BatchState;
  taskIndex: number;
  taskCount: number;
  /** Number of the attempt that it was submitted for. */
  firstAttempt: number;
  jobId: string;
  experimentId: string;
  sweepId: string | null;
  jobState: JobState;
  cancelRequested: boolean;
  attemptCount: number;
  jobDirectory: string;
  /** State and id of the newest attempt of the job; null before the first. */
  newestState: AttemptState | null;
  newestSlurmJobId: string | null;
  /** The attempts that were made of it, a requeue being one more; none when it was given up or overtaken. */
  attempts: { number: number; state: AttemptState; slurmJobId: string | null; startedAt: Date | null; finishedAt: Date | null }[];
}

/** Every task of the cluster's batches with these tokens. Tokens that we do not know bring nothing. */
export async function readBatchTasks(reader: Reader, cluster: string, tokens: readonly string[]): Promise<BatchTask[]> {
  const { rows } = await reader.execute<Omit<BatchTask, 'attempts'> & { attempts: StoredAttempt[] }>(sql`
    with batch as (select id, token, state, task_count, former_tasks from batches where cluster = ${cluster} and token = any(${sql.param([...tokens])}::text[])),
    task as (
      select batch.id as batch_id, a.task_index, a.job_id, min(a.number - a.restart) as first_attempt,
        jsonb_agg(jsonb_build_object('number', a.number, 'state', a.state, 'slurmJobId', a.slurm_job_id, 'startedAt', a.started_at, 'finishedAt', a.finished_at) order by a.number) as attempts
      from batch join attempts a on a.batch_id = batch.id group by batch.id, a.task_index, a.job_id
      union all
      select batch.id, former."taskIndex", former."jobId", max(former."attemptNumber"), '[]'
      from batch, jsonb_to_recordset(batch.former_tasks) as former("taskIndex" int, "jobId" uuid, "attemptNumber" int)
      where not exists (select 1 from attempts a where a.batch_id = batch.id and a.task_index = former."taskIndex") group by 1, 2, 3)
    select batch.id as "batchId", batch.token, batch.state as "batchState", task.task_index as "taskIndex", batch.task_count as "taskCount",
      task.first_attempt as "firstAttempt", task.attempts, j.id as "jobId", j.experiment_id as "experimentId", j.sweep_id as "sweepId", j.state as "jobState",
      j.cancel_requested as "cancelRequested", j.attempt_count as "attemptCount", j.storage_path as "jobDirectory",
      newest.state as "newestState", newest.slurm_job_id as "newestSlurmJobId"
    from task join batch on batch.id = task.batch_id join jobs j on j.id = task.job_id
    left join attempts newest on newest.job_id = j.id and newest.number = j.attempt_count`);
  return rows.map((row) => ({ ...row, attempts: row.attempts.map(toAttempt) }));
}

interface StoredAttempt {
  number: number;
  state: AttemptState;
  slurmJobId: string | null;
  startedAt: string | null;
  finishedAt: string | null;
}

function toAttempt({ startedAt, finishedAt, ...rest }: StoredAttempt): BatchTask['attempts'][number] {
  const moment = (text: string | null): Date | null => (text === null ? null : new Date(text));
  return { ...rest, startedAt: moment(startedAt), finishedAt: moment(finishedAt) };
}
