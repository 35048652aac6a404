/** A job that the scheduler put back into its queue goes on as a new attempt under the same id. */
import { sql } from 'drizzle-orm';
import type { NewEvent } from '../../domain/events.ts';
import type { JobState } from '../../domain/states.ts';
import type { Transaction } from '../database.ts';
import { newId } from '../ids.ts';

/**
 * Opens the attempt after the given one, in the same submission and under the same id. Answers the events to append; none when
 * there is a newer attempt already, or the job waits in our queue for one.
 */
export async function openNextRun(transaction: Transaction, run: { jobId: string; attemptNumber: number }, reason: string): Promise<NewEvent[]> {
  const { rows } = await transaction.execute<{ experiment_id: string; sweep_id: string | null; job_was: JobState; number: number; slurm_job_id: string }>(sql`
    with job as (
      select id, state from jobs where id = ${run.jobId} and attempt_count = ${run.attemptNumber} and state not in ('QUEUED', 'HELD') for no key update),
    attempt as (
      insert into attempts (job_id, number, id, cluster, batch_id, task_index, restart, state, slurm_job_id, stdout_path, stderr_path)
      select a.job_id, a.number + 1, ${newId()}, a.cluster, a.batch_id, a.task_index, a.restart + 1, 'PENDING', a.slurm_job_id, a.stdout_path, a.stderr_path
      from attempts a join job on job.id = a.job_id where a.number = ${run.attemptNumber}
      returning job_id, number, slurm_job_id)
    update jobs set state = 'PENDING', state_reason = ${reason}, attempt_count = attempt.number, finished_at = null, harvested_at = null
    from attempt join job on job.id = attempt.job_id where jobs.id = attempt.job_id
    returning jobs.experiment_id, jobs.sweep_id, job.state as job_was, attempt.number, attempt.slurm_job_id`);
  return rows.flatMap((row): NewEvent[] => {
    const about = { experimentId: row.experiment_id, sweepId: row.sweep_id, jobId: run.jobId, attemptNumber: row.number };
    return [
      { ...about, kind: 'ATTEMPT_STATE_CHANGED', payload: { from: null, to: 'PENDING', reason, slurmJobId: row.slurm_job_id } },
      ...(row.job_was === 'PENDING' ? [] : [{ ...about, kind: 'JOB_STATE_CHANGED' as const, payload: { from: row.job_was, to: 'PENDING' as const, reason } }]),
    ];
  });
}
