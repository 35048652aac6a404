import type { Database, Transaction } from '../db/database.ts';
import { checkpointsOfJobs, type CheckpointRow } from '../db/read/checkpoints.ts';
import { transact } from '../db/transaction.ts';
import { upsertCheckpoints, type CheckpointRecord } from '../db/write/checkpoints.ts';
import { appendEvents } from '../db/write/events.ts';
import type { Position } from '../domain/checkpoint-layouts/layout.ts';
import { CHECKPOINT_STATES, type CheckpointState } from '../domain/checkpoint-scan.ts';
import { textProblem } from '../domain/config-values.ts';
import type { UserFault } from '../domain/errors.ts';
import { badInput, tagFaults, throwFaults } from './input-faults.ts';
import { resolveAttempt } from './resolve-attempt.ts';

/** ARCHIVED is what `archiveCheckpoints` makes of one. */
const RECORDED_STATES: readonly CheckpointState[] = CHECKPOINT_STATES.filter((state) => state !== 'ARCHIVED');
const MAX_PATH_BYTES = 4096;
const MAX_FILE_COUNT = 2 ** 31 - 1;

export interface RecordCheckpointInput {
  jobId: string;
  /** Absent: the newest attempt. */
  attempt?: number | null;
  /** Absolute path of a file or directory on the cluster. */
  path: string;
  step?: number | null;
  epoch?: number | null;
  /** COMPLETE when absent; what is ARCHIVED stays so. */
  state?: CheckpointState | null;
  sizeBytes?: number | null;
  fileCount?: number | null;
  aliases?: string[] | null;
}

/** Records a checkpoint, or what is new about a known one (absent values stay). Throws UserError NOT_FOUND, BAD_USER_INPUT. */
export async function recordCheckpoint({ database }: { database: Database }, input: RecordCheckpointInput): Promise<{ checkpointId: string }> {
  throwFaults(inputFaults(input));
  return transact(database, async (transaction) => {
    const { attemptNumber, ...job } = await resolveAttempt(transaction, input);
    const known = await knownCheckpoint(transaction, job.jobId, input.path);
    const state = input.state ?? (known?.state === 'ARCHIVED' ? 'ARCHIVED' : 'COMPLETE');
    const record: CheckpointRecord = {
      jobId: job.jobId, path: input.path, attemptNumber, state, layout: null, step: said(input.step), epoch: said(input.epoch),
      loggedMetrics: null, isDeclared: true,
      sizeBytes: input.sizeBytes ?? known?.sizeBytes ?? 0, fileCount: input.fileCount ?? known?.fileCount ?? 1,
      aliases: [...new Set(input.aliases ?? known?.aliases ?? [])], writtenAt: known === undefined || (state !== 'ARCHIVED' && saysContent(input)) ? new Date() : known.writtenAt,
    };
    const [checkpointId] = await upsertCheckpoints(transaction, [record]);
    if (!checkpointId) throw new Error('a checkpoint that holds whatever is known was not stored');
    await appendEvents(transaction, [{ kind: 'CHECKPOINT_CHANGED', ...job, attemptNumber, payload: { checkpointId, path: record.path, state: record.state } }]);
    return { checkpointId };
  });
}

/** It was written anew, or so it seems; names alone do not say so. */
function saysContent({ state, sizeBytes, fileCount, step, epoch }: RecordCheckpointInput): boolean {
  return [state, sizeBytes, fileCount, step, epoch].some((value) => value !== null && value !== undefined);
}

function said(value: number | null | undefined): Position | null {
  return value === null || value === undefined ? null : { value, source: 'LOGGED', confidence: 'CERTAIN' };
}

async function knownCheckpoint(transaction: Transaction, jobId: string, path: string): Promise<CheckpointRow | undefined> {
  const [checkpoints] = await checkpointsOfJobs(transaction, [jobId]);
  return checkpoints?.find((checkpoint) => checkpoint.path === path);
}

function inputFaults(input: RecordCheckpointInput): UserFault[] {
  const pathProblem = textProblem(input.path)
    ?? (input.path.startsWith('/') ? null : 'must be an absolute path on the cluster')
    ?? (Buffer.byteLength(input.path) > MAX_PATH_BYTES ? `is longer than ${MAX_PATH_BYTES} bytes` : null);
  const state = input.state ?? 'COMPLETE';
  return [
    ...(pathProblem === null ? [] : [badInput(['path'], pathProblem)]),
    ...(RECORDED_STATES.includes(state) ? [] : [badInput(['state'], `must be one of ${RECORDED_STATES.join(', ')}`)]),
    ...countFaults('step', input.step, 0, Number.MAX_SAFE_INTEGER),
    ...(input.epoch === null || input.epoch === undefined || input.epoch >= 0 ? [] : [badInput(['epoch'], `must be 0 or more, not ${input.epoch}`)]),
    ...countFaults('sizeBytes', input.sizeBytes, 0, Number.MAX_SAFE_INTEGER),
    ...countFaults('fileCount', input.fileCount, 0, MAX_FILE_COUNT),
    ...tagFaults(input.aliases ?? [], ['aliases']),
  ];
}

function countFaults(name: string, value: number | null | undefined, min: number, max: number): UserFault[] {
  if (value === null || value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return [];
  return [badInput([name], `must be a whole number from ${min} to ${max}, not ${value}`)];
}
