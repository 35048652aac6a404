/** What is already known of the files of some jobs: how far each was read, and the checkpoints found. */
import { and, inArray, isNotNull, or } from 'drizzle-orm';
import type { Reader } from '../database.ts';
import { checkpointRequestItems, checkpoints, fileCursors } from '../tables/index.ts';
import type { FileCursor } from '../write/harvest.ts';

export type CheckpointRow = typeof checkpoints.$inferSelect;

export interface HarvestState {
  /** By job, then by path. */
  cursors: Map<string, Map<string, FileCursor>>;
  checkpoints: Map<string, CheckpointRow[]>;
  /** Ids of checkpoints of which there may be archives: somebody asked to archive or restore them, and that is not done yet or was begun at any time. */
  mayHaveArchives: Set<string>;
}

export async function readHarvestState(reader: Reader, jobIds: string[]): Promise<HarvestState> {
  const state: HarvestState = { cursors: new Map(), checkpoints: new Map(), mayHaveArchives: new Set() };
  if (jobIds.length === 0) return state;
  const [cursorRows, checkpointRows, itemRows] = await Promise.all([
    reader.select().from(fileCursors).where(inArray(fileCursors.jobId, jobIds)),
    reader.select().from(checkpoints).where(inArray(checkpoints.jobId, jobIds)),
    reader.select({ id: checkpointRequestItems.checkpointId }).from(checkpointRequestItems).where(and(
      inArray(checkpointRequestItems.jobId, jobIds), inArray(checkpointRequestItems.action, ['ARCHIVE', 'RESTORE']),
      or(inArray(checkpointRequestItems.state, ['PENDING', 'RUNNING']), isNotNull(checkpointRequestItems.members)))),
  ]);
  for (const cursor of cursorRows) {
    const ofJob = state.cursors.get(cursor.jobId) ?? new Map<string, FileCursor>();
    state.cursors.set(cursor.jobId, ofJob.set(cursor.path, cursor));
  }
  for (const checkpoint of checkpointRows) {
    state.checkpoints.set(checkpoint.jobId, [...state.checkpoints.get(checkpoint.jobId) ?? [], checkpoint]);
  }
  for (const { id } of itemRows) state.mayHaveArchives.add(id);
  return state;
}
