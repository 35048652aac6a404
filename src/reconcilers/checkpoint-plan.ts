/** What of each checkpoint a run is to work on: looked up on disk, so that nothing is touched that is not what the database knows. */
import type { Cluster } from '../cluster/executor.ts';
import type { Database } from '../db/database.ts';
import type { OpenItem } from '../db/read/checkpoint-requests.ts';
import { readHarvestState } from '../db/read/harvest-state.ts';
import { isTarArchive } from '../domain/checkpoint-requests/archive-name.ts';
import type { FoundCheckpoint } from '../domain/checkpoint-layouts/layout.ts';
import { searchCheckpoints } from './harvest-checkpoints.ts';
import { LIST_DEPTH, LIST_MAX_ENTRIES } from './harvest.ts';
import { listJobs } from './harvest-list.ts';

export type PlannedItem = { item: OpenItem } & (
  | { members: string[]; isOneFile: boolean }
  /** Nothing is to be done. A listing may lack what is there: only the program knows what is gone. */
  | { problem: string }
);

/** What a run has begun with is known from then: half of it may lie elsewhere by now, where only the program finds it. */
export async function planItems(database: Database, cluster: Cluster, items: OpenItem[]): Promise<PlannedItem[]> {
  const fresh = items.filter(({ members, action }) => members === null && action !== 'RESTORE');
  const directories = [...new Set(fresh.map(({ jobDirectory }) => jobDirectory))];
  const [listed, state] = await Promise.all([
    directories.length === 0 ? null : listJobs(cluster.transport, { jobs: directories, others: [] }, { maxDepth: LIST_DEPTH, maxEntries: LIST_MAX_ENTRIES }),
    readHarvestState(database, [...new Set(fresh.map(({ jobId }) => jobId))]),
  ]);
  return items.map((item): PlannedItem => {
    const { action, members, isOneFile, checkpoint, jobId, jobDirectory } = item;
    if (action === 'RESTORE') return { item, members: [], isOneFile: !isTarArchive(checkpoint.path, checkpoint.archivePath ?? '') };
    if (members !== null) return { item, members, isOneFile: isOneFile ?? false };
    const { search: { found } } = searchCheckpoints({ jobDirectory, entries: listed?.entries.get(jobDirectory) ?? [], known: state.checkpoints.get(jobId) ?? [], packing: state.packing, logged: [] });
    const there = found.find(({ path }) => `${jobDirectory}/${path}` === checkpoint.path);
    if (there === undefined && listed?.leftOut.has(jobDirectory)) return { item, problem: 'its job directory has more files than are looked at, and it is not among those' };
    if (there === undefined) return { item, problem: 'it was not found on disk' };
    if (!isAsRecorded(there, item)) return { item, problem: 'it has changed since it was asked for' };
    return { item, ...membersOf(there) };
  });
}

function isAsRecorded({ files, modifiedAt }: FoundCheckpoint, { sizeBytes, fileCount, writtenAt }: OpenItem): boolean {
  return files.length === fileCount && files.reduce((sum, file) => sum + file.sizeBytes, 0) === sizeBytes && modifiedAt.getTime() === writtenAt.getTime();
}

/** A folder, a file, or several files that lie in one folder. */
function membersOf({ path, name, isDirectory, files }: FoundCheckpoint): { members: string[]; isOneFile: boolean } {
  if (isDirectory) return { members: [name], isOneFile: false };
  const names = files.map((file) => file.path.slice(file.path.lastIndexOf('/') + 1));
  return { members: names, isOneFile: files.length === 1 && files[0]?.path === path };
}
