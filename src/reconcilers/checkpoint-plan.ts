/** What of each checkpoint a run is to work on: looked up on disk, so that nothing is touched that is not what the database knows. */
import type { Cluster } from '../cluster/executor.ts';
import type { Database } from '../db/database.ts';
import type { OpenItem } from '../db/read/checkpoint-requests.ts';
import { readHarvestState } from '../db/read/harvest-state.ts';
import type { FoundCheckpoint } from '../domain/checkpoint-layouts/layout.ts';
import { searchCheckpoints } from './harvest-checkpoints.ts';
import { LIST_DEPTH, LIST_MAX_ENTRIES } from './harvest.ts';
import { listJobs } from './harvest-list.ts';

export type PlannedItem = { item: OpenItem } & (
  | { members: string[]; isOneFile: boolean }
  /** Nothing is to be done: `isGone` when it is not on disk. */
  | { problem: string; isGone: boolean }
);

/** What a run has begun with is known from then: half of it may lie elsewhere by now, where only the program finds it. */
export async function planItems(database: Database, cluster: Cluster, items: OpenItem[]): Promise<PlannedItem[]> {
  const fresh = items.filter(({ tries, action }) => tries === 0 && action !== 'RESTORE');
  const directories = [...new Set(fresh.map(({ jobDirectory }) => jobDirectory))];
  const [listed, state] = await Promise.all([
    directories.length === 0 ? null : listJobs(cluster.transport, { jobs: directories, others: [] }, { maxDepth: LIST_DEPTH, maxEntries: LIST_MAX_ENTRIES }),
    readHarvestState(database, [...new Set(fresh.map(({ jobId }) => jobId))]),
  ]);
  return items.map((item): PlannedItem => {
    const { action, tries, members, isOneFile, checkpoint, jobId, jobDirectory } = item;
    if (action === 'RESTORE') return { item, members: [], isOneFile: !/\.tar\.(?:zst|gz)$/.test(checkpoint.archivePath ?? '') };
    if (tries > 0) return { item, members: members ?? [], isOneFile: isOneFile ?? false };
    const { search: { found } } = searchCheckpoints({ jobDirectory, entries: listed?.entries.get(jobDirectory) ?? [], known: state.checkpoints.get(jobId) ?? [], logged: [] });
    const there = found.find(({ path }) => `${jobDirectory}/${path}` === checkpoint.path);
    if (there === undefined && listed?.leftOut.has(jobDirectory)) return { item, problem: 'its job directory has more files than are looked at, and it is not among those', isGone: false };
    if (there === undefined) return { item, problem: 'it is not on disk any more', isGone: true };
    if (!isAsRecorded(there, checkpoint)) return { item, problem: 'it has changed since it was recorded', isGone: false };
    return { item, ...membersOf(there) };
  });
}

function isAsRecorded({ files, modifiedAt }: FoundCheckpoint, { sizeBytes, fileCount, writtenAt }: OpenItem['checkpoint']): boolean {
  return files.length === fileCount && files.reduce((sum, file) => sum + file.sizeBytes, 0) === sizeBytes && modifiedAt.getTime() === writtenAt.getTime();
}

/** A folder, a file, or several files that lie in one folder. */
function membersOf({ path, name, isDirectory, files }: FoundCheckpoint): { members: string[]; isOneFile: boolean } {
  if (isDirectory) return { members: [name], isOneFile: false };
  const names = files.map((file) => file.path.slice(file.path.lastIndexOf('/') + 1));
  return { members: names, isOneFile: files.length === 1 && files[0]?.path === path };
}
