/** Tries again: a new attempt of the same job, or a new job with a changed configuration that is linked to the old one. */
import { sql } from 'drizzle-orm';
import type { JsonObject, Resources } from '../../domain/job-spec.ts';
import type { RetryCounts } from '../../domain/retry-decision.ts';
import type { Transaction } from '../database.ts';

interface RetryFields {
  resources: Resources;
  tags: string[];
  priority: number;
  /** Null: at once. */
  notBefore: Date | null;
  retryCounts: RetryCounts;
  /** Why it waits in the queue, in words. */
  reason: string;
}

/** The job goes back to the queue, where its next attempt is made. */
export interface NewAttempt extends RetryFields {
  jobId: string;
}

/** What is not named here is as in the job it comes from. */
export interface NewJobFromOld extends RetryFields {
  jobId: string;
  retryOf: string;
  name: string;
  config: JsonObject;
  fingerprint: string;
  storagePath: string;
  /** Null: whoever submitted the old one. */
  submittedBy: string | null;
}

/** Which of the failed jobs are still as they were seen; nobody changes those before this transaction ends. */
export async function lockUndecidedJobs(transaction: Transaction, seen: { jobId: string; attemptNumber: number }[]): Promise<Set<string>> {
  const { rows } = await transaction.execute<{ id: string }>(sql`
    select j.id from jobs j
    join jsonb_to_recordset(${JSON.stringify(seen)}::jsonb) as t("jobId" uuid, "attemptNumber" int) on t."jobId" = j.id and t."attemptNumber" = j.attempt_count
    where j.state = 'FAILED' and j.retry_decided_for < j.attempt_count order by j.id for no key update of j`);
  return new Set(rows.map((row) => row.id));
}

/** The decision about the newest attempt stands; where there is a note it is added to the reason why the job failed. Answers these reasons, by job. */
export async function markRetryDecided(transaction: Transaction, decided: { jobId: string; note: string | null }[]): Promise<Map<string, string | null>> {
  if (decided.length === 0) return new Map();
  const { rows } = await transaction.execute<{ id: string; state_reason: string | null }>(sql`
    update jobs set retry_decided_for = attempt_count,
      state_reason = case when t.note is null then state_reason else concat_ws('; ', state_reason, t.note) end
    from jsonb_to_recordset(${JSON.stringify(decided)}::jsonb) as t("jobId" uuid, note text) where jobs.id = t."jobId"
    returning jobs.id, jobs.state_reason`);
  return new Map(rows.map((row) => [row.id, row.state_reason]));
}

/** Expects jobs that ended and that this transaction has locked. */
export async function requeueForRetry(transaction: Transaction, retries: NewAttempt[]): Promise<void> {
  if (retries.length === 0) return;
  await transaction.execute(sql`delete from results where job_id = any(${sql.param(retries.map((retry) => retry.jobId))}::uuid[])`);
  await transaction.execute(sql`
    update jobs set state = 'QUEUED', state_reason = t.reason, resources = t.resources, tags = t.tags, priority = t.priority, not_before = t."notBefore",
      retry_counts = t."retryCounts", cancel_requested = false, hold_requested = false, held_on_cluster = false,
      started_at = null, finished_at = null, harvested_at = null
    from jsonb_to_recordset(${JSON.stringify(retries)}::jsonb)
      as t("jobId" uuid, reason text, resources jsonb, tags text[], priority int, "notBefore" timestamptz, "retryCounts" jsonb)
    where jobs.id = t."jobId"`);
}

/** Answers the ids of those that are in; the others have a configuration that their experiment has already. */
export async function insertRetryJobs(transaction: Transaction, retries: NewJobFromOld[]): Promise<Set<string>> {
  if (retries.length === 0) return new Set();
  const { rows } = await transaction.execute<{ id: string }>(sql`
    insert into jobs (id, experiment_id, sweep_id, name, config, fingerprint, repetition, tags, priority, state, state_reason, cluster, command, environment,
      working_directory, code_version, resources, storage_path, submitted_by, retry_of, retry_policy, retry_counts, not_before)
    select t."jobId", o.experiment_id, o.sweep_id, t.name, t.config, t.fingerprint, 0, t.tags, t.priority, 'QUEUED', t.reason, o.cluster, o.command, o.environment,
      o.working_directory, o.code_version, t.resources, t."storagePath", coalesce(t."submittedBy", o.submitted_by), o.id, o.retry_policy, t."retryCounts", t."notBefore"
    from jsonb_to_recordset(${JSON.stringify(retries)}::jsonb)
      as t("jobId" uuid, "retryOf" uuid, name text, config jsonb, fingerprint text, tags text[], priority int, reason text, resources jsonb,
        "storagePath" text, "submittedBy" text, "retryCounts" jsonb, "notBefore" timestamptz)
    join jobs o on o.id = t."retryOf"
    order by t.fingerprint
    on conflict (experiment_id, fingerprint, repetition) do nothing
    returning id`);
  return new Set(rows.map((row) => row.id));
}
