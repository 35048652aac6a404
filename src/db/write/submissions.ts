/** New jobs, and duplicates among them: two jobs of an experiment with one fingerprint differ in their repetition. */
import { sql } from 'drizzle-orm';
import type { JsonObject, Resources } from '../../domain/job-spec.ts';
import type { RetryRule } from '../../domain/retry-policy.ts';
import type { Transaction } from '../database.ts';

/** Bounds of one statement: rows, and the size of its parameter (a single larger job goes alone). */
const MAX_ROWS_PER_STATEMENT = 1_000;
const MAX_STATEMENT_LENGTH = 8 * 1024 * 1024;
/** Each round loses to at most one other submitter that got there first. */
const MAX_REPETITION_ROUNDS = 20;

/** What the jobs of one submission have in common. */
export interface SharedJobFields {
  experimentId: string;
  sweepId: string | null;
  cluster: string;
  state: 'QUEUED' | 'HELD';
  command: string[];
  environment: Record<string, string>;
  workingDirectory: string | null;
  codeVersion: string | null;
  resources: Resources;
  /** Null: the policy of the site. */
  retryPolicy: RetryRule[] | null;
  submittedBy: string;
}

export interface NewJob {
  jobId: string;
  name: string;
  config: JsonObject;
  fingerprint: string;
  tags: string[];
  priority: number;
  storagePath: string;
}

/** Inserts the jobs whose fingerprint the experiment does not have yet, and answers their ids. The jobs' fingerprints must differ. */
export async function insertNewJobs(transaction: Transaction, shared: SharedJobFields, jobs: readonly NewJob[]): Promise<Set<string>> {
  return insertJobs(transaction, shared, jobs.map((job) => ({ ...job, repetition: 0 })));
}

/** Inserts all jobs, each as the next repetition of its fingerprint. */
export async function insertRepeatedJobs(transaction: Transaction, shared: SharedJobFields, jobs: readonly NewJob[]): Promise<void> {
  let left = [...jobs];
  for (let round = 0; left.length > 0; round += 1) {
    if (round === MAX_REPETITION_ROUNDS) throw new Error('other submissions of the same jobs keep coming first');
    const next = await nextRepetitions(transaction, shared.experimentId, left.map((job) => job.fingerprint));
    const numbered = left.map((job) => {
      const repetition = next.get(job.fingerprint) ?? 0;
      next.set(job.fingerprint, repetition + 1);
      return { ...job, repetition };
    });
    const inserted = await insertJobs(transaction, shared, numbered);
    left = left.filter((job) => !inserted.has(job.jobId));
  }
}

async function nextRepetitions(transaction: Transaction, experimentId: string, fingerprints: string[]): Promise<Map<string, number>> {
  const { rows } = await transaction.execute<{ fingerprint: string; next: number }>(sql`
    select fingerprint, max(repetition) + 1 as next from jobs
    where experiment_id = ${experimentId} and fingerprint = any(${sql.param(fingerprints)}::text[]) group by fingerprint`);
  return new Map(rows.map((row) => [row.fingerprint, row.next]));
}

async function insertJobs(transaction: Transaction, shared: SharedJobFields, jobs: (NewJob & { repetition: number })[]): Promise<Set<string>> {
  // In one order everywhere: two submitters of the same jobs then wait for one another instead of both being stuck.
  const ordered = [...jobs].sort((a, b) => (a.fingerprint < b.fingerprint ? -1 : a.fingerprint > b.fingerprint ? 1 : a.repetition - b.repetition));
  const inserted = new Set<string>();
  for (const rows of statementsOf(ordered.map((job) => JSON.stringify(job)))) {
    const result = await transaction.execute<{ id: string }>(sql`
      insert into jobs (id, experiment_id, sweep_id, name, config, fingerprint, repetition, tags, priority, state, cluster, command, environment,
        working_directory, code_version, resources, retry_policy, storage_path, submitted_by)
      select "jobId", ${shared.experimentId}::uuid, ${shared.sweepId}::uuid, name, config, fingerprint, repetition, tags, priority, ${shared.state}::text,
        ${shared.cluster}::text, ${JSON.stringify(shared.command)}::jsonb, ${JSON.stringify(shared.environment)}::jsonb, ${shared.workingDirectory}::text,
        ${shared.codeVersion}::text, ${JSON.stringify(shared.resources)}::jsonb,
        ${shared.retryPolicy === null ? null : JSON.stringify(shared.retryPolicy)}::jsonb, "storagePath", ${shared.submittedBy}::text
      from rows from (jsonb_to_recordset(${rows}::jsonb) as ("jobId" uuid, name text, config jsonb, fingerprint text, repetition int, tags text[], priority int,
        "storagePath" text)) with ordinality as t
      order by t.ordinality
      on conflict (experiment_id, fingerprint, repetition) do nothing
      returning id`);
    for (const row of result.rows) inserted.add(row.id);
  }
  return inserted;
}

/** Cuts the rows into JSON lists that one statement each can take. */
function* statementsOf(rows: string[]): Generator<string> {
  let part: string[] = [];
  let length = 0;
  for (const row of rows) {
    if (part.length > 0 && (part.length === MAX_ROWS_PER_STATEMENT || length + row.length > MAX_STATEMENT_LENGTH)) {
      yield `[${part.join(',')}]`;
      part = [];
      length = 0;
    }
    part.push(row);
    length += row.length;
  }
  if (part.length > 0) yield `[${part.join(',')}]`;
}
