/** Takes a submission into the database that only its cluster knew of. */
import { sql } from 'drizzle-orm';
import type { AdoptedTask, KnownJob } from '../../domain/adoption.ts';
import type { NewEvent } from '../../domain/events.ts';
import type { JobState } from '../../domain/states.ts';
import type { Manifest } from '../../domain/script/manifest.ts';
import type { Transaction } from '../database.ts';
import { newId } from '../ids.ts';
import { insertExperiment, joinExperiment } from './experiments.ts';
import { insertRepeatedJobs } from './submissions.ts';

export interface AdoptedBatch {
  cluster: string;
  token: string;
  /** Id of the array or of the single job. */
  slurmJobId: string;
  script: string;
  submittedAt: Date | null;
  /** Name of the token of whoever asked for it. */
  adoptedBy: string;
}

/** An attempt with what the cluster calls it. */
export interface AdoptedAttempt extends AdoptedTask {
  slurmJobId: string;
  stdoutPath: string;
  stderrPath: string;
}

/** Which of the jobs the database has; nobody changes those before this transaction ends. */
export async function lockKnownJobs(transaction: Transaction, jobIds: readonly string[]): Promise<KnownJob[]> {
  const { rows } = await transaction.execute<{ id: string; cluster: string; state: JobState; attempt_count: number }>(sql`
    select id, cluster, state, attempt_count from jobs where id = any(${sql.param([...jobIds])}::uuid[]) order by id for update`);
  return rows.map((row) => ({ jobId: row.id, cluster: row.cluster, state: row.state, attemptCount: row.attempt_count }));
}

/** Records the submission with its attempts, and the jobs that are new. Answers the events to append; null when the submission is known. */
export async function recordAdoption(
  transaction: Transaction, batch: AdoptedBatch, manifest: Manifest, attempts: readonly AdoptedAttempt[],
): Promise<NewEvent[] | null> {
  const batchId = newId();
  const { rows } = await transaction.execute(sql`
    insert into batches (id, cluster, token, state, script, task_count, slurm_job_id, submitted_at, answered_at)
    values (${batchId}, ${batch.cluster}, ${batch.token}, 'SUBMITTED', ${batch.script}, ${manifest.tasks.length}, ${batch.slurmJobId},
      coalesce(${batch.submittedAt}::timestamptz, now()), now())
    on conflict (token) do nothing returning id`);
  if (rows.length === 0) return null;
  const fresh = attempts.filter(({ known }) => known === null);
  const made = fresh.length === 0 ? [] : await insertJobs(transaction, batch, manifest, fresh);
  return [...made, ...await insertAttempts(transaction, batch, batchId, attempts)];
}

async function insertJobs(transaction: Transaction, batch: AdoptedBatch, manifest: Manifest, fresh: readonly AdoptedAttempt[]): Promise<NewEvent[]> {
  const { project, experiment: name, resources } = manifest;
  const made = await insertExperiment(transaction, { project, name, description: null, tags: [], objective: null });
  const experimentId = made ?? (await joinExperiment(transaction, project, name, null)).experimentId;
  const groups = new Map<string, AdoptedAttempt[]>();
  for (const attempt of fresh) {
    const { config: _, ...shared } = attempt.identity;
    const key = JSON.stringify(shared);
    groups.set(key, [...groups.get(key) ?? [], attempt]);
  }
  for (const group of groups.values()) {
    const { config: _, ...shared } = group[0]!.identity;
    // Nobody sees them held: their attempts are added before the transaction ends.
    const common = { experimentId, sweepId: null, cluster: batch.cluster, state: 'HELD' as const, ...shared, resources, retryPolicy: null, submittedBy: batch.adoptedBy };
    await insertRepeatedJobs(transaction, common, group.map(({ jobId, name: jobName, identity, fingerprint, tags, priority, jobDirectory }) => (
      { jobId, name: jobName, config: identity.config, fingerprint, tags, priority, storagePath: jobDirectory })));
  }
  return made === null ? [] : [{ kind: 'EXPERIMENT_CREATED', experimentId, sweepId: null, jobId: null, attemptNumber: null, payload: {} }];
}

async function insertAttempts(transaction: Transaction, batch: AdoptedBatch, batchId: string, attempts: readonly AdoptedAttempt[]): Promise<NewEvent[]> {
  const tasks = attempts.map(({ jobId, attemptNumber, taskIndex, restart, slurmJobId, stdoutPath, stderrPath }) => (
    { id: newId(), jobId, number: attemptNumber, taskIndex, restart, slurmJobId, stdoutPath, stderrPath }));
  await transaction.execute(sql`delete from results where job_id = any(${sql.param(tasks.map(({ jobId }) => jobId))}::uuid[])`);
  const { rows } = await transaction.execute<{ id: string; experiment_id: string; sweep_id: string | null }>(sql`
    with task as (select * from jsonb_to_recordset(${JSON.stringify(tasks)}::jsonb)
      as t(id uuid, "jobId" uuid, number int, "taskIndex" int, restart int, "slurmJobId" text, "stdoutPath" text, "stderrPath" text)),
    attempt as (
      insert into attempts (job_id, number, id, cluster, batch_id, task_index, restart, state, slurm_job_id, stdout_path, stderr_path, submitted_at)
      select "jobId", number, id, ${batch.cluster}, ${batchId}, "taskIndex", restart, 'PENDING', "slurmJobId", "stdoutPath", "stderrPath",
        coalesce(${batch.submittedAt}::timestamptz, now()) from task)
    update jobs set state = 'PENDING', state_reason = null, attempt_count = task.number, cancel_requested = false, hold_requested = false,
      held_on_cluster = false, started_at = null, finished_at = null, harvested_at = null
    from task where jobs.id = task."jobId"
    returning jobs.id, jobs.experiment_id, jobs.sweep_id`);
  const jobs = new Map(rows.map((row) => [row.id, row]));
  const reason = `adopted from SLURM job ${batch.slurmJobId} by ${batch.adoptedBy}`;
  return attempts.flatMap(({ jobId, attemptNumber, slurmJobId, known }): NewEvent[] => {
    const job = jobs.get(jobId);
    if (job === undefined) throw new Error(`job ${jobId} was not recorded`);
    const about = { experimentId: job.experiment_id, sweepId: job.sweep_id, jobId, attemptNumber };
    return [
      { ...about, kind: 'ATTEMPT_STATE_CHANGED', payload: { from: null, to: 'PENDING', reason, slurmJobId } },
      { ...about, kind: 'JOB_STATE_CHANGED', payload: { from: known?.state ?? null, to: 'PENDING', reason } },
    ];
  });
}
