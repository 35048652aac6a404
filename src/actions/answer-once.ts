/** The same request under the same idempotency key is carried out once; asked again, it is answered again. That of a submission is built again from ids. */
import { createHash } from 'node:crypto';
import type { Reader, Transaction } from '../db/database.ts';
import { findKeptAnswer } from '../db/read/idempotency.ts';
import { jobsById, type JobRow } from '../db/read/jobs.ts';
import { claimIdempotencyKey, keepAnswer, type IdempotencyClaim } from '../db/write/idempotency.ts';
import { UserError } from '../domain/errors.ts';
import { canonicalJson } from '../domain/fingerprint.ts';
import type { JsonObject } from '../domain/job-spec.ts';
import type { JobState } from '../domain/states.ts';
import type { ActionContext } from './action-context.ts';
import type { PlannedJob, SubmissionAnswer } from './submission.ts';

/** What is kept: ids, and of duplicates what no row has. */
interface Kept {
  experimentId: string | null;
  sweepId: string | null;
  jobIds: string[];
  duplicates: KeptDuplicate[];
}

interface KeptDuplicate {
  name: string;
  /** A job with the same configuration. */
  twinJobId: string;
  existingJobId: string | null;
  existingState: JobState | null;
}

/** What a request with a key claims; null where it has none. */
export function idempotencyClaim(context: Pick<ActionContext, 'tokenName'>, mutation: string, input: { idempotencyKey?: string | null }): IdempotencyClaim | null {
  const { idempotencyKey: key, ...rest } = input;
  if (key === null || key === undefined) return null;
  const inputSha256 = createHash('sha256').update(canonicalJson(JSON.parse(JSON.stringify(rest)))).digest('hex');
  return { tokenName: context.tokenName, key, mutation, inputSha256 };
}

/** What was kept of the answer that was given before, or null. Throws UserError IDEMPOTENCY_KEY_REUSED when the key was used for something else. */
export async function keptAnswer(reader: Reader, claim: IdempotencyClaim): Promise<JsonObject | null> {
  const kept = await findKeptAnswer(reader, claim.tokenName, claim.key);
  if (kept === null) return null;
  if (kept.mutation !== claim.mutation || kept.inputSha256 !== claim.inputSha256) {
    const other = kept.mutation === claim.mutation ? 'another input' : kept.mutation;
    throw UserError.of('IDEMPOTENCY_KEY_REUSED', `this key was used before for ${other}; use a new key`, ['idempotencyKey']);
  }
  return kept.answer;
}

/** Null: the key is the transaction's, which has to keep its answer. Else what was kept for it; waits for a transaction that has the key. */
export async function claimOrKeptAnswer(transaction: Transaction, claim: IdempotencyClaim): Promise<JsonObject | null> {
  if (await claimIdempotencyKey(transaction, claim)) return null;
  const kept = await keptAnswer(transaction, claim);
  if (kept === null) throw new Error('a claimed idempotency key has no row');
  return kept;
}

/** The answer to a submission that was given before, or null. Throws as `keptAnswer`. */
export async function earlierAnswer(reader: Reader, claim: IdempotencyClaim): Promise<SubmissionAnswer | null> {
  const kept = await keptAnswer(reader, claim);
  return kept === null ? null : rebuild(reader, kept as unknown as Kept);
}

/** Carries out the submission once for the claim; concurrent callers wait and get the same answer. */
export async function answerOnce(
  transaction: Transaction, claim: IdempotencyClaim, work: () => Promise<SubmissionAnswer>,
): Promise<SubmissionAnswer> {
  const kept = await claimOrKeptAnswer(transaction, claim);
  if (kept !== null) return rebuild(transaction, kept as unknown as Kept);
  const answer = await work();
  await keepAnswer(transaction, claim, toKept(answer) as unknown as JsonObject);
  return answer;
}

function toKept(answer: SubmissionAnswer): Kept {
  const byFingerprint = new Map(answer.jobs.map((job) => [job.fingerprint, job.jobId]));
  return {
    experimentId: answer.experimentId, sweepId: answer.sweepId,
    jobIds: answer.jobs.flatMap((job) => (job.jobId === null ? [] : [job.jobId])),
    duplicates: answer.duplicates.map(({ name, fingerprint, existingJobId, existingState }) => ({
      name, twinJobId: existingJobId ?? byFingerprint.get(fingerprint) ?? '', existingJobId, existingState,
    })),
  };
}

async function rebuild(reader: Reader, kept: Kept): Promise<SubmissionAnswer> {
  const wanted = [...new Set([...kept.jobIds, ...kept.duplicates.map((duplicate) => duplicate.twinJobId)])];
  const rows = new Map((await jobsById(reader, wanted)).flatMap((row) => (row === null ? [] : [[row.id, row]])));
  return {
    experimentId: kept.experimentId, sweepId: kept.sweepId, scripts: [], dryRun: false,
    jobs: kept.jobIds.map((id) => toPlannedJob(present(rows, id))),
    duplicates: kept.duplicates.map(({ name, twinJobId, existingJobId, existingState }) => {
      const { config, fingerprint } = present(rows, twinJobId);
      return { name, config, fingerprint, existingJobId, existingState };
    }),
  };
}

function present(rows: Map<string, JobRow>, id: string): JobRow {
  const row = rows.get(id);
  if (row === undefined) throw new Error(`job ${id} of a kept answer is gone`);
  return row;
}

function toPlannedJob({ id, name, config, tags, priority, fingerprint, storagePath }: JobRow): PlannedJob {
  return { jobId: id, name, config, tags, priority, fingerprint, storagePath };
}
