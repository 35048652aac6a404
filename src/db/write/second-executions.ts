/** Attempts follow the execution that really runs; what became of the others is written down beside them. */
import { sql } from 'drizzle-orm';
import type { NewEvent } from '../../domain/events.ts';
import type { AttemptState, JobState } from '../../domain/states.ts';
import type { Transaction } from '../database.ts';
import { newId } from '../ids.ts';

/** An attempt and the task of a batch that executes it. */
export interface Adoption {
  jobId: string;
  attemptNumber: number;
  batchId: string;
  taskIndex: number;
  restart: number;
  slurmJobId: string;
  stdoutPath: string;
  stderrPath: string;
  /** What the attempt was when this was decided; null when there was none, because its job waited in our queue. */
  was: { state: AttemptState; slurmJobId: string | null } | null;
  /** Why, in words. */
  reason: string;
}

type Adopted = {
  job_id: string; number: number; slurm_job_id: string; experiment_id: string; sweep_id: string | null;
  from_state: AttemptState | null; to_state: AttemptState; job_was: JobState; job_is: JobState;
};

/**
 * Makes the attempts those of the executions named. One that had ended goes on as RUNNING, a new one begins as PENDING; whatever else is known
 * of it is to be learnt anew. Leaves out those that are not any more what they were. Answers the events to append.
 */
export async function adoptExecutions(transaction: Transaction, adoptions: Adoption[]): Promise<NewEvent[]> {
  if (adoptions.length === 0) return [];
  const rows = adoptions.map(({ was, reason: _, ...rest }) => ({ ...rest, id: newId(), wasState: was?.state ?? null, wasSlurmJobId: was?.slurmJobId ?? null }));
  const wanted = sql`(select * from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as t(id uuid, "jobId" uuid, "attemptNumber" int, "batchId" uuid, "taskIndex" int,
    restart int, "slurmJobId" text, "stdoutPath" text, "stderrPath" text, "wasState" text, "wasSlurmJobId" text))`;
  await transaction.execute(sql`select 1 from jobs where id in (select "jobId" from ${wanted} t) order by id for no key update`);
  await transaction.execute(sql`
    update batches b set former_tasks = coalesce(b.former_tasks, '[]') || left_behind.tasks
    from (
      select a.batch_id, jsonb_agg(jsonb_build_object('taskIndex', a.task_index, 'jobId', a.job_id, 'attemptNumber', a.number - a.restart)) as tasks
      from ${wanted} t join attempts a on a.job_id = t."jobId" and a.number = t."attemptNumber" and a.batch_id <> t."batchId" group by a.batch_id) left_behind
    where b.id = left_behind.batch_id`);
  const { rows: adopted } = await transaction.execute<Adopted>(sql`
    with t as ${wanted},
    target as (
      select t.*, j.experiment_id, j.sweep_id, j.state as job_was, a.number is null as is_new
      from t join jobs j on j.id = t."jobId" left join attempts a on a.job_id = t."jobId" and a.number = t."attemptNumber"
      where case when t."wasState" is null then a.number is null and j.attempt_count = t."attemptNumber" - 1 and j.state in ('QUEUED', 'HELD')
        else a.state = t."wasState" and a.slurm_job_id is not distinct from t."wasSlurmJobId" and j.attempt_count = a.number and j.state not in ('QUEUED', 'HELD') end),
    moved as (
      update attempts a set batch_id = target."batchId", task_index = target."taskIndex", restart = target.restart, slurm_job_id = target."slurmJobId",
        stdout_path = target."stdoutPath", stderr_path = target."stderrPath", reason = null, node_list = null, exit_code = null, signal = null, estimated_start_at = null,
        started_at = null, finished_at = null, elapsed_seconds = null, max_rss_bytes = null, gpu_seconds = null,
        state = case when a.state in ('SUBMITTING', 'PENDING', 'CONFIGURING') then 'PENDING' else 'RUNNING' end
      from target where not target.is_new and a.job_id = target."jobId" and a.number = target."attemptNumber"
      returning a.job_id, a.number, a.state as to_state, target."wasState" as from_state),
    opened as (
      insert into attempts (job_id, number, id, cluster, batch_id, task_index, restart, state, slurm_job_id, stdout_path, stderr_path)
      select "jobId", "attemptNumber", target.id, j.cluster, "batchId", "taskIndex", target.restart, 'PENDING', "slurmJobId", "stdoutPath", "stderrPath"
      from target join jobs j on j.id = target."jobId" where target.is_new
      returning job_id, number, state as to_state, null::text as from_state),
    attempt as (select * from moved union all select * from opened),
    batch as (
      update batches b set state = 'SUBMITTED', slurm_job_id = coalesce(b.slurm_job_id, split_part(target."slurmJobId", '_', 1)), error = null, answered_at = now()
      from target where b.id = target."batchId" and b.state <> 'SUBMITTED'),
    withdrawn as (delete from results where job_id in (select job_id from attempt))
    update jobs set state = attempt.to_state, state_reason = null, attempt_count = attempt.number, held_on_cluster = false, finished_at = null, harvested_at = null
    from attempt join target on target."jobId" = attempt.job_id where jobs.id = attempt.job_id
    returning jobs.id as job_id, attempt.number, target."slurmJobId" as slurm_job_id, target.experiment_id, target.sweep_id, attempt.from_state, attempt.to_state,
      target.job_was, jobs.state as job_is`);
  return adopted.flatMap((row) => eventsOf(row, adoptions.find(({ jobId }) => jobId === row.job_id)?.reason ?? null));
}

function eventsOf(row: Adopted, reason: string | null): NewEvent[] {
  const about = { experimentId: row.experiment_id, sweepId: row.sweep_id, jobId: row.job_id, attemptNumber: row.number };
  return [
    // Also where the state stays: the id is another one.
    { ...about, kind: 'ATTEMPT_STATE_CHANGED', payload: { from: row.from_state, to: row.to_state, reason, slurmJobId: row.slurm_job_id } },
    ...(row.job_was === row.job_is ? [] : [{ ...about, kind: 'JOB_STATE_CHANGED' as const, payload: { from: row.job_was, to: row.job_is, reason } }]),
  ];
}

/** Another execution than the one that runs the attempt. */
export interface SecondExecution {
  jobId: string;
  /** The attempt that it was for; there may be no such attempt now. */
  attemptNumber: number;
  slurmJobId: string;
  /** What became of it, in words. */
  reason: string;
}

/** Notes what became of them, once for each id, with the attempt. Answers the events to append. */
export async function noteSecondExecutions(transaction: Transaction, seconds: SecondExecution[]): Promise<NewEvent[]> {
  if (seconds.length === 0) return [];
  const { rows } = await transaction.execute<{ job_id: string; number: number | null; slurm_job_id: string; reason: string; experiment_id: string; sweep_id: string | null }>(sql`
    with t as (select * from jsonb_to_recordset(${JSON.stringify(seconds)}::jsonb) as t("jobId" uuid, "attemptNumber" int, "slurmJobId" text, reason text)),
    line as (select t.*, 'SLURM job ' || t."slurmJobId" || ': ' || t.reason as words from t),
    fresh as (
      select distinct on (line."jobId", line."slurmJobId") line.*, a.number from line left join attempts a on a.job_id = line."jobId" and a.number = line."attemptNumber"
      where position('SLURM job ' || line."slurmJobId" || ': ' in coalesce(a.note, '')) = 0),
    noted as (
      update attempts a set note = concat_ws(E'\n', a.note, added.words)
      from (select "jobId", number, string_agg(words, E'\n') as words from fresh where number is not null group by 1, 2) added
      where a.job_id = added."jobId" and a.number = added.number)
    select fresh."jobId" as job_id, fresh.number, fresh."slurmJobId" as slurm_job_id, fresh.reason, j.experiment_id, j.sweep_id
    from fresh join jobs j on j.id = fresh."jobId"`);
  return rows.map((row) => ({
    kind: 'SECOND_EXECUTION', experimentId: row.experiment_id, sweepId: row.sweep_id, jobId: row.job_id, attemptNumber: row.number,
    payload: { slurmJobId: row.slurm_job_id, reason: row.reason },
  }));
}
