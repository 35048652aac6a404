/** Checkpoints of jobs, by path. */
import { sql } from 'drizzle-orm';
import type { CheckpointState } from '../../domain/checkpoint-scan.ts';
import type { Transaction } from '../database.ts';
import { newId } from '../ids.ts';


export interface CheckpointRecord {
  jobId: string;
  /** Absolute path on the cluster. */
  path: string;
  attemptNumber: number;
  state: CheckpointState;
  step: number | null;
  epoch: number | null;
  sizeBytes: number;
  fileCount: number;
  aliases: string[];
  writtenAt: Date;
}

/**
 * Stores each checkpoint as the record says; one that is known keeps its id, and its step and epoch where the record has
 * none. Answers the ids in the order of the records, which must not name a path twice.
 */
export async function upsertCheckpoints(transaction: Transaction, records: readonly CheckpointRecord[]): Promise<string[]> {
  if (records.length === 0) return [];
  const rows = records.map((record) => ({ id: newId(), ...record }));
  const { rows: stored } = await transaction.execute<{ id: string; job_id: string; path: string }>(sql`
    insert into checkpoints (id, job_id, path, attempt_number, state, step, epoch, size_bytes, file_count, aliases, written_at)
    select id, "jobId", path, "attemptNumber", state, step, epoch, "sizeBytes", "fileCount", aliases, "writtenAt"
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as t(id uuid, "jobId" uuid, path text, "attemptNumber" int, state text, step bigint,
      epoch int, "sizeBytes" bigint, "fileCount" int, aliases text[], "writtenAt" timestamptz)
    on conflict (job_id, path) do update set attempt_number = excluded.attempt_number, state = excluded.state,
      step = coalesce(excluded.step, checkpoints.step), epoch = coalesce(excluded.epoch, checkpoints.epoch), size_bytes = excluded.size_bytes,
      file_count = excluded.file_count, aliases = excluded.aliases, written_at = excluded.written_at
    returning id, job_id, path`);
  const ids = new Map(stored.map((row) => [`${row.job_id} ${row.path}`, row.id]));
  return records.map((record) => ids.get(`${record.jobId} ${record.path}`) ?? '');
}
