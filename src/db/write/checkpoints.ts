/** Checkpoints of jobs, by path. */
import { and, eq, sql, type SQL } from 'drizzle-orm';
import type { CheckpointLayout, Position } from '../../domain/checkpoint-layouts/layout.ts';
import { ARCHIVE_ENDING } from '../../domain/checkpoint-requests/archive-name.ts';
import type { CheckpointState } from '../../domain/checkpoint-scan.ts';
import type { Transaction } from '../database.ts';
import { newId } from '../ids.ts';
import { checkpoints } from '../tables/index.ts';

export interface CheckpointRecord {
  jobId: string;
  /** Absolute path on the cluster. */
  path: string;
  attemptNumber: number;
  state: CheckpointState;
  /** Null where nothing is new about it: what is known stays. */
  layout: CheckpointLayout | null;
  step: Position | null;
  epoch: Position | null;
  loggedMetrics: Record<string, number> | null;
  isDeclared: boolean;
  sizeBytes: number;
  fileCount: number;
  aliases: string[];
  writtenAt: Date;
  /**
   * Of what was found by looking: the state that was known then, null of what was new. Where the database says otherwise by now, somebody else has
   * archived or restored it meanwhile, and the look is out of date. Absent: the record holds whatever is known.
   */
  stateBefore?: CheckpointState | null;
  /** When the look began, by the clock of the database: what a request has done since may have moved what is missed. */
  lookedAt?: Date;
}

/** What lies there by now in place of what is recorded. False where it is COMPLETE no more. */
export async function recordSeenContent(
  transaction: Transaction, { jobId, checkpointId }: { jobId: string; checkpointId: string }, { sizeBytes, fileCount, writtenAt }: Pick<CheckpointRecord, 'sizeBytes' | 'fileCount' | 'writtenAt'>,
): Promise<boolean> {
  const { rowCount } = await transaction.update(checkpoints).set({ sizeBytes, fileCount, writtenAt, contentDigest: null })
    .where(and(eq(checkpoints.jobId, jobId), eq(checkpoints.id, checkpointId), eq(checkpoints.state, 'COMPLETE')));
  return (rowCount ?? 0) > 0;
}

/** How much a source counts: a lesser one does not replace what a greater one said. */
const rankOf = (source: SQL): SQL => sql`case ${source} when 'LOGGED' then 3 when 'FILE' then 2 when 'NAME' then 1 else 0 end`;

/** The column is taken from the record where that has a value of at least the same rank. */
function ranked(position: 'step' | 'epoch', column: string): SQL {
  const source = sql.raw(`${position}_source`);
  const isNewer = sql`excluded.${sql.raw(position)} is not null and ${rankOf(sql`excluded.${source}`)} >= ${rankOf(sql`checkpoints.${source}`)}`;
  return sql`${sql.raw(column)} = case when ${isNewer} then excluded.${sql.raw(column)} else checkpoints.${sql.raw(column)} end`;
}

/** The earlier archives of a checkpoint that is ARCHIVED no more, though nobody restored or deleted it: its archive is one of them, if it is still there. */
export const archivesLeft = sql`case when checkpoints.state = 'ARCHIVED' and checkpoints.archive_path is not null
  then checkpoints.earlier_archives || jsonb_build_object('path', checkpoints.archive_path, 'bytes', checkpoints.archive_bytes, 'archivedAt', checkpoints.archived_at)
  else checkpoints.earlier_archives end`;

const lastEarlier = (key: string): SQL => sql`case when checkpoints.state = 'DELETED' then checkpoints.earlier_archives -> -1 ->> ${key} end`;
/** What they hold of one that is ARCHIVED, or is so again. */
const ARCHIVE_COLUMNS = [
  { name: 'archive_path', value: sql`coalesce(checkpoints.archive_path, ${lastEarlier('path')})` },
  { name: 'archive_bytes', value: sql`coalesce(checkpoints.archive_bytes, (${lastEarlier('bytes')})::bigint)` },
  { name: 'archived_at', value: sql`coalesce(checkpoints.archived_at, (${lastEarlier('archivedAt')})::timestamptz)` },
];

/** The checkpoint of whose archive `t` is the path: that may lie there from when somebody asked for it, and for good. */
const archiveOf = sql`select 1 from checkpoints a where t.path ~ '\\.(zst|gz)$' and a.job_id = t."jobId" and starts_with(t.path, a.path)
  and substr(t.path, length(a.path) + 1) ~ ${ARCHIVE_ENDING.source} and (a.state = 'ARCHIVED' or a.earlier_archives <> '[]'
    or exists (select 1 from checkpoint_request_items i where i.job_id = a.job_id and i.checkpoint_id = a.id and i.action in ('ARCHIVE', 'RESTORE')
      and (i.members is not null or i.state in ('PENDING', 'RUNNING'))))`;

/**
 * Stores each checkpoint as the record says; one that is known keeps its id, and what the record says nothing new about. Answers the ids
 * in the order of the records, which must not name a path twice. One that is
 * ARCHIVED was so before: that is not learnt by looking. Where it is DELETED, the last of its earlier archives is back. The id is null of a record that was not stored: it was out of
 * date, it is an archive, its archive is being unpacked just now, or it is missed only because a run has it out of its place.
 */
export async function upsertCheckpoints(transaction: Transaction, records: readonly CheckpointRecord[]): Promise<(string | null)[]> {
  if (records.length === 0) return [];
  const rows = records.map(({ step, epoch, stateBefore, ...record }) => ({
    id: newId(), ...record, isLooked: stateBefore !== undefined, stateBefore, step: step?.value, stepSource: step?.source, stepConfidence: step?.confidence,
    epoch: epoch?.value, epochSource: epoch?.source, epochConfidence: epoch?.confidence,
  }));
  const positions = (['step', 'epoch'] as const).flatMap((position) => [position, `${position}_source`, `${position}_confidence`].map((column) => ranked(position, column)));
  const { rows: stored } = await transaction.execute<{ id: string; job_id: string; path: string }>(sql`
    with t as (
      select * from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as t(id uuid, "jobId" uuid, path text, "attemptNumber" int, state text, layout text,
        step bigint, "stepSource" text, "stepConfidence" text, epoch float8, "epochSource" text, "epochConfidence" text, "loggedMetrics" jsonb, "isDeclared" boolean,
        "sizeBytes" bigint, "fileCount" int, aliases text[], "writtenAt" timestamptz, "isLooked" boolean, "stateBefore" text, "lookedAt" timestamptz)
    ), known as (
      select c.id, c.job_id, c.path, c.state from checkpoints c join t on t."jobId" = c.job_id and t.path = c.path order by c.job_id, c.path for update of c
    )
    insert into checkpoints (id, job_id, path, attempt_number, state, layout, step, step_source, step_confidence, epoch, epoch_source, epoch_confidence,
      logged_metrics, is_declared, size_bytes, file_count, aliases, written_at)
    select t.id, "jobId", t.path, "attemptNumber", t.state, layout, step, "stepSource", "stepConfidence", epoch, "epochSource", "epochConfidence",
      "loggedMetrics", "isDeclared", "sizeBytes", "fileCount", aliases, "writtenAt"
    from t left join known on known.job_id = t."jobId" and known.path = t.path
    where not t."isLooked" or (known.state is not distinct from t."stateBefore"
      and not (coalesce(known.state, 'DELETED') = 'DELETED' and exists (${archiveOf}))
      and not exists (select 1 from checkpoint_request_items i where i.checkpoint_id = known.id and i.action = 'RESTORE' and i.state = 'RUNNING' and known.state = 'ARCHIVED')
      and not exists (select 1 from checkpoint_request_items i where i.checkpoint_id = known.id and i.action in ('ARCHIVE', 'DELETE') and t.state = 'DELETED'
        and (i.state = 'RUNNING' or (i.state = 'PENDING' and i.tries > 0) or i.changed_at >= t."lookedAt")))
    on conflict (job_id, path) do update set attempt_number = excluded.attempt_number, state = excluded.state,
      layout = coalesce(excluded.layout, checkpoints.layout), ${sql.join(positions, sql`, `)},
      logged_metrics = coalesce(excluded.logged_metrics, checkpoints.logged_metrics), is_declared = excluded.is_declared or checkpoints.is_declared,
      size_bytes = excluded.size_bytes, file_count = excluded.file_count, aliases = excluded.aliases, written_at = excluded.written_at,
      ${sql.join(ARCHIVE_COLUMNS.map((column) => sql`${sql.raw(column.name)} = case when excluded.state = 'ARCHIVED' then ${column.value} end`), sql`, `)},
      earlier_archives = case when excluded.state <> 'ARCHIVED' then ${archivesLeft} when checkpoints.state = 'DELETED' then checkpoints.earlier_archives - (-1) else checkpoints.earlier_archives end,
      content_digest = case when (checkpoints.size_bytes, checkpoints.file_count, checkpoints.written_at) = (excluded.size_bytes, excluded.file_count, excluded.written_at)
        then checkpoints.content_digest end
    returning id, job_id, path`);
  const ids = new Map(stored.map((row) => [`${row.job_id} ${row.path}`, row.id]));
  return records.map((record) => ids.get(`${record.jobId} ${record.path}`) ?? null);
}
