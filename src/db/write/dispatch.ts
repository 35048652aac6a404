/** The queue and what leaves it: claiming jobs, recording batches, and what their submission came to. */
import { sql } from 'drizzle-orm';
import type { JobIdentity, JsonObject, Resources } from '../../domain/job-spec.ts';
import type { NewEvent } from '../../domain/events.ts';
import type { JobState } from '../../domain/states.ts';
import { parseLaneKey, type LaneCount } from '../../domain/submit-lane.ts';
import type { Reader, Transaction } from '../database.ts';
import { newId } from '../ids.ts';
import { staysInPlace } from '../read/checkpoints.ts';

export interface QueuedJob {
  jobId: string;
  experimentId: string;
  sweepId: string | null;
  jobName: string;
  project: string;
  experiment: string;
  /** Number that the attempt about to be made will have. */
  attemptNumber: number;
  jobDirectory: string;
  resources: Resources;
  identity: JobIdentity;
  resumeCheckpointPath: string | null;
  tags: string[];
  priority: number;
}

/** The jobs that the cluster holds or may hold, by lane. */
export async function countActiveJobs(reader: Reader, cluster: string): Promise<LaneCount[]> {
  const { rows } = await reader.execute<{ lane: string; count: string }>(sql`
    select lane, count(*) as count from jobs where cluster = ${cluster} and state in ('SUBMITTING', 'PENDING', 'RUNNING') group by lane`);
  return rows.map(({ lane, count }) => ({ ...parseLaneKey(lane), count: Number(count) }));
}

/** The lanes in which jobs of a cluster are queued, as `laneKey`. Steps from lane to lane through the index, whatever the number of jobs. */
export async function readQueuedLanes(reader: Reader, cluster: string): Promise<string[]> {
  const { rows } = await reader.execute<{ lane: string }>(sql`
    with recursive step as (
      (select lane from jobs where cluster = ${cluster} and state = 'QUEUED' order by lane limit 1)
      union all
      select (select j.lane from jobs j where j.cluster = ${cluster} and j.state = 'QUEUED' and j.lane > step.lane order by j.lane limit 1)
      from step where step.lane is not null)
    select lane from step where lane is not null`);
  return rows.map(({ lane }) => lane);
}

/**
 * The next jobs of some lanes, at most so many of each, highest priority first over all lanes.
 * @param lanes `except`: jobs that ask for exactly this are passed over
 */
export async function readNextQueued(reader: Reader, cluster: string, lanes: { lane: string; most: number; except: Resources[] }[]): Promise<{ jobId: string; lane: string }[]> {
  if (lanes.length === 0) return [];
  const { rows } = await reader.execute<{ id: string; lane: string }>(sql`
    select j.id, l.lane from jsonb_to_recordset(${JSON.stringify(lanes)}::jsonb) as l(lane text, most int, "except" jsonb)
    cross join lateral (
      select id, priority from jobs
      where cluster = ${cluster} and state = 'QUEUED' and lane = l.lane and (not_before is null or not_before <= now())
        and not exists (select 1 from jsonb_array_elements(l."except") kind where kind.value = jobs.resources)
      order by priority desc nulls last, id limit l.most) j
    order by j.priority desc, j.id`);
  return rows.map(({ id, lane }) => ({ jobId: id, lane }));
}

/** Locks those of the jobs that are still queued, highest priority first, passing over those another process has locked. */
export async function claimQueuedJobs(transaction: Transaction, cluster: string, jobIds: string[]): Promise<QueuedJob[]> {
  const { rows } = await transaction.execute<{
    id: string; experiment_id: string; sweep_id: string | null; name: string; project: string; experiment: string; attempt_count: number;
    storage_path: string; resources: Resources; command: string[]; config: JsonObject; environment: Record<string, string>;
    working_directory: string | null; code_version: string | null; resume_path: string | null; tags: string[]; priority: number;
  }>(sql`
    select j.id, j.experiment_id, j.sweep_id, j.name, e.project, e.name as experiment, j.attempt_count, j.storage_path, j.resources, j.command,
           j.config, j.environment, j.working_directory, j.code_version, j.tags, j.priority, c.path as resume_path
    from (select * from jobs where id = any(${sql.param(jobIds)}::uuid[]) and cluster = ${cluster} and state = 'QUEUED' for update skip locked) j
    join experiments e on e.id = j.experiment_id
    left join lateral (
      select path from checkpoints c where job_id = j.id and state = 'COMPLETE' and j.attempt_count > 0 and ${staysInPlace}
      order by step desc nulls last, written_at desc limit 1
    ) c on true
    order by j.priority desc, j.id`);
  return rows.map((row) => ({
    jobId: row.id,
    experimentId: row.experiment_id,
    sweepId: row.sweep_id,
    jobName: row.name,
    project: row.project,
    experiment: row.experiment,
    attemptNumber: row.attempt_count + 1,
    jobDirectory: row.storage_path,
    resources: row.resources,
    identity: {
      command: row.command, config: row.config, environment: row.environment,
      workingDirectory: row.working_directory, codeVersion: row.code_version,
    },
    resumeCheckpointPath: row.resume_path,
    tags: row.tags,
    priority: row.priority,
  }));
}

/** A job that cannot be submitted as it is ends before its first attempt. */
export async function failQueuedJob(transaction: Transaction, jobId: string, reason: string): Promise<NewEvent[]> {
  const { rows } = await transaction.execute<AttemptStep>(sql`
    update jobs set state = 'FAILED', state_reason = ${reason}, finished_at = now(), harvested_at = now() where id = ${jobId}
    returning id as job_id, experiment_id, sweep_id, attempt_count as number`);
  return rows.map((row) => jobEvent({ ...row, number: row.number || null }, 'QUEUED', 'FAILED', reason));
}

/** Milliseconds until the first of the queued jobs that wait for a moment may go; null when none does. */
export async function untilNextDue(reader: Reader, cluster: string): Promise<number | null> {
  const { rows } = await reader.execute<{ milliseconds: number | null }>(sql`
    select (extract(epoch from min(not_before) - now()) * 1000)::float8 as milliseconds
    from jobs where cluster = ${cluster} and state = 'QUEUED' and not_before > now()`);
  return rows[0]?.milliseconds ?? null;
}

export interface BatchRecord {
  token: string;
  script: string;
  tasks: { jobId: string; attemptNumber: number }[];
}

/** Writes down a batch that is about to be submitted, before anything is sent: its jobs are SUBMITTING from here on. */
export async function recordBatch(transaction: Transaction, cluster: string, batch: BatchRecord): Promise<{ batchId: string }> {
  const batchId = newId();
  await transaction.execute(sql`
    insert into batches (id, cluster, token, state, script, task_count)
    values (${batchId}, ${cluster}, ${batch.token}, 'SUBMITTING', ${batch.script}, ${batch.tasks.length})`);
  const tasks = batch.tasks.map((task, index) => ({ job_id: task.jobId, number: task.attemptNumber, id: newId(), task_index: index }));
  await transaction.execute(sql`
    with task as (select * from jsonb_to_recordset(${JSON.stringify(tasks)}::jsonb) as t(job_id uuid, number int, id uuid, task_index int)),
    attempt as (
      insert into attempts (job_id, number, id, cluster, batch_id, task_index, state)
      select job_id, number, id, ${cluster}, ${batchId}, task_index, 'SUBMITTING' from task)
    update jobs set state = 'SUBMITTING', state_reason = null, attempt_count = task.number, held_on_cluster = false
    from task where jobs.id = task.job_id`);
  return { batchId };
}

export interface SubmittedTask {
  taskIndex: number;
  slurmJobId: string;
  stdoutPath: string;
  stderrPath: string;
}

/** The cluster has the batch: its attempts are PENDING under these ids. Answers the events to append. */
export async function markBatchSubmitted(
  transaction: Transaction, batchId: string, slurmJobId: string | null, answer: string | null, tasks: SubmittedTask[],
): Promise<NewEvent[]> {
  await transaction.execute(sql`
    update batches set state = 'SUBMITTED', slurm_job_id = ${slurmJobId}, answer = coalesce(${answer}, answer), error = null, answered_at = now()
    where id = ${batchId}`);
  const { rows } = await transaction.execute<AttemptStep & { slurm_job_id: string }>(sql`
    with task as (
      select * from jsonb_to_recordset(${JSON.stringify(tasks)}::jsonb)
        as t("taskIndex" int, "slurmJobId" text, "stdoutPath" text, "stderrPath" text)),
    attempt as (
      update attempts set state = 'PENDING', slurm_job_id = task."slurmJobId", stdout_path = task."stdoutPath", stderr_path = task."stderrPath"
      from task where attempts.batch_id = ${batchId} and attempts.task_index = task."taskIndex" and attempts.state = 'SUBMITTING'
      returning attempts.job_id, attempts.number, attempts.slurm_job_id)
    update jobs set state = 'PENDING', state_reason = null from attempt
    where jobs.id = attempt.job_id and jobs.attempt_count = attempt.number
    returning jobs.id as job_id, jobs.experiment_id, jobs.sweep_id, attempt.number, attempt.slurm_job_id`);
  return rows.flatMap((row) => [
    attemptEvent(row, 'SUBMITTING', 'PENDING', null, row.slurm_job_id),
    jobEvent(row, 'SUBMITTING', 'PENDING', null),
  ]);
}

type AttemptStep = { job_id: string; experiment_id: string; sweep_id: string | null; number: number };
/** `number` is null before the first attempt. */
type JobStep = Omit<AttemptStep, 'number'> & { number: number | null };

function attemptEvent(row: AttemptStep, from: 'SUBMITTING', to: 'PENDING' | 'FAILED', reason: string | null, slurmJobId: string | null): NewEvent {
  return {
    kind: 'ATTEMPT_STATE_CHANGED', experimentId: row.experiment_id, sweepId: row.sweep_id, jobId: row.job_id, attemptNumber: row.number,
    payload: { from, to, reason, slurmJobId },
  };
}

function jobEvent(row: JobStep, from: JobState, to: JobState, reason: string | null): NewEvent {
  return {
    kind: 'JOB_STATE_CHANGED', experimentId: row.experiment_id, sweepId: row.sweep_id, jobId: row.job_id, attemptNumber: row.number,
    payload: { from, to, reason },
  };
}

/** The cluster said no for good: the attempts and their jobs FAILED, with the cluster's words as the reason. */
export async function markBatchRefused(transaction: Transaction, batchId: string, error: string, answer: string | null): Promise<NewEvent[]> {
  await transaction.execute(sql`
    update batches set state = 'REFUSED', error = ${error}, answer = ${answer}, answered_at = now() where id = ${batchId}`);
  const { rows } = await transaction.execute<AttemptStep>(sql`
    with attempt as (
      update attempts set state = 'FAILED', reason = ${error}, finished_at = now()
      where batch_id = ${batchId} and state = 'SUBMITTING' returning job_id, number)
    update jobs set state = 'FAILED', state_reason = ${error}, finished_at = now(), harvested_at = now() from attempt
    where jobs.id = attempt.job_id and jobs.attempt_count = attempt.number
    returning jobs.id as job_id, jobs.experiment_id, jobs.sweep_id, attempt.number`);
  return rows.flatMap((row) => [
    attemptEvent(row, 'SUBMITTING', 'FAILED', error, null),
    jobEvent(row, 'SUBMITTING', 'FAILED', error),
  ]);
}

/**
 * Nothing of the batch runs and nothing will: its jobs go back to the queue (or end as CANCELLED where that was asked for
 * meanwhile). The attempts never happened, so their numbers are given out again: the start guard of the same number keeps a
 * submission that turns up after all from running twice, and the batch remembers whose its tasks were. On the local machine some tasks of a batch may run: those stay.
 */
export async function returnBatchToQueue(transaction: Transaction, batchId: string, error: string, answer: string | null): Promise<NewEvent[]> {
  await transaction.execute(sql`
    update batches set error = ${error}, answer = coalesce(${answer}, answer), answered_at = now(),
      state = case when exists (select 1 from attempts where batch_id = ${batchId} and state <> 'SUBMITTING') then 'SUBMITTED' else 'ABANDONED' end
    where id = ${batchId}`);
  const { rows } = await transaction.execute<AttemptStep & { state: JobState }>(sql`
    with attempt as (delete from attempts where batch_id = ${batchId} and state = 'SUBMITTING' returning job_id, number, task_index),
    batch as (
      update batches set former_tasks = coalesce(former_tasks, '[]') || (
        select jsonb_agg(jsonb_build_object('taskIndex', task_index, 'jobId', job_id, 'attemptNumber', number)) from attempt)
      where id = ${batchId} and exists (select 1 from attempt))
    update jobs set attempt_count = attempt.number - 1,
      state = case when cancel_requested then 'CANCELLED' when hold_requested then 'HELD' else 'QUEUED' end,
      state_reason = case when cancel_requested then 'cancelled before it was submitted' else ${`waiting to submit again: ${error}`} end,
      finished_at = case when cancel_requested then now() end, harvested_at = case when cancel_requested then now() end
    from attempt where jobs.id = attempt.job_id
    returning jobs.id as job_id, jobs.experiment_id, jobs.sweep_id, attempt.number, jobs.state`);
  return rows.map((row) => jobEvent(row, 'SUBMITTING', row.state, error));
}
