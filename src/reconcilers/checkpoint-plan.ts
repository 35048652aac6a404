/** What of each checkpoint a run is to work on: looked up on disk, so that nothing is touched that is not what the database knows. */
import type { Cluster } from '../cluster/executor.ts';
import type { FileEntry } from '../cluster/transport.ts';
import type { Database } from '../db/database.ts';
import type { OpenItem } from '../db/read/checkpoint-requests.ts';
import { readHarvestState } from '../db/read/harvest-state.ts';
import { isArchiveName, isTarArchive, OWN_PREFIX } from '../domain/checkpoint-requests/archive-name.ts';
import type { FoundCheckpoint } from '../domain/checkpoint-layouts/layout.ts';
import { searchCheckpoints } from './harvest-checkpoints.ts';
import { LIST_DEPTH, LIST_MAX_ENTRIES } from './harvest.ts';
import { listJobs } from './harvest-list.ts';

/** What a look at the disk says of a checkpoint. */
export type SeenContent = Pick<OpenItem, 'sizeBytes' | 'fileCount' | 'writtenAt'>;

export type PlannedItem = { item: OpenItem } & (
  | { members: string[]; isOneFile: boolean }
  /** Nothing is to be done. A listing that is empty, too long, or of what cannot all be read, may lack what is there; what any other lacks is gone. `seen` is what lies there instead of what was asked about. */
  | { problem: string; seen?: SeenContent; isGone?: true }
);

/** What a run has begun with is known from then: half of it may lie elsewhere by now, where only the program finds it. */
export async function planItems(database: Database, cluster: Cluster, items: OpenItem[]): Promise<PlannedItem[]> {
  const fresh = items.filter((item) => item.members === null && !isAboutArchive(item));
  const directories = [...new Set(fresh.map(({ jobDirectory }) => jobDirectory))];
  const [listed, state] = await Promise.all([
    directories.length === 0 ? null : listJobs(cluster.transport, { jobs: directories, others: [] }, { maxDepth: LIST_DEPTH, maxEntries: LIST_MAX_ENTRIES }),
    readHarvestState(database, [...new Set(fresh.map(({ jobId }) => jobId))]),
  ]);
  return items.map((item): PlannedItem => {
    const { members, isOneFile, checkpoint, jobId, jobDirectory } = item;
    if (isAboutArchive(item)) return { item, members: [], isOneFile: !isTarArchive(checkpoint.path, checkpoint.archivePath ?? '') };
    if (members !== null) return { item, members, isOneFile: isOneFile ?? false };
    const entries = listed?.entries.get(jobDirectory) ?? [];
    const { search } = searchCheckpoints({ jobDirectory, entries, known: state.checkpoints.get(jobId) ?? [], mayHaveArchives: state.mayHaveArchives, logged: [] });
    const there = search.found.find(({ path }) => `${jobDirectory}/${path}` === checkpoint.path);
    const left = leftBehind(item, there, entries, search.archives);
    if (left !== null) return { item, ...left };
    if (there === undefined && listed?.leftOut.has(jobDirectory)) return { item, problem: 'its job directory has more files than are looked at, and it is not among those' };
    if (there === undefined && listed?.unreadable.has(jobDirectory)) return { item, problem: 'it was not found on disk: not all of its job directory can be read' };
    if (there === undefined && entries.length > 0) return { item, problem: 'it is not on disk any more', isGone: true };
    if (there === undefined) return { item, problem: 'it was not found on disk: its job directory is empty, or cannot be read' };
    const seen = { sizeBytes: there.files.reduce((sum, file) => sum + file.sizeBytes, 0), fileCount: there.files.length, writtenAt: there.modifiedAt };
    if (!isAsRecorded(seen, item)) return { item, problem: 'it has changed since it was asked for; what is there now is recorded, and taken if it is asked for again', seen };
    return { item, ...membersOf(there) };
  });
}

/** Whether it is the archive that something is to be done with, and not the checkpoint. */
export function isAboutArchive({ action, checkpoint }: OpenItem): boolean {
  return action === 'RESTORE' || (action === 'DELETE' && checkpoint.state === 'ARCHIVED');
}

/** What an earlier request left when it was given up: a checkpoint that is out of the way, or nothing but its archive. The program goes on with either. */
function leftBehind(
  { checkpointId, action, jobDirectory, checkpoint: { path, earlierArchives } }: OpenItem, there: FoundCheckpoint | undefined, entries: readonly FileEntry[], archives: readonly string[],
): { members: string[]; isOneFile: boolean } | null {
  const end = path.lastIndexOf('/') + 1;
  const old = `${path.slice(0, end)}${OWN_PREFIX}${checkpointId}.old/`;
  const away = entries.filter((entry) => entry.path.startsWith(old) && !entry.path.slice(old.length).includes('/'));
  if (away.length > 0) {
    const names = new Set([...away.map((entry) => entry.path.slice(old.length)), ...there === undefined ? [] : membersOf(there).members]);
    return { members: [...names], isOneFile: away.every(({ kind }) => kind === 'file') && names.size === 1 && names.has(path.slice(end)) };
  }
  const archive = archives.map((each) => `${jobDirectory}/${each}`).find((each) => isArchiveName(path, each) && !earlierArchives.some((earlier) => earlier.path === each));
  return action === 'ARCHIVE' && there === undefined && archive !== undefined ? { members: [path.slice(end)], isOneFile: !isTarArchive(path, archive) } : null;
}

function isAsRecorded(seen: SeenContent, { sizeBytes, fileCount, writtenAt }: OpenItem): boolean {
  return seen.fileCount === fileCount && seen.sizeBytes === sizeBytes && seen.writtenAt.getTime() === writtenAt.getTime();
}

/** A folder, a file, or several files that lie in one folder. */
function membersOf({ path, name, isDirectory, files }: FoundCheckpoint): { members: string[]; isOneFile: boolean } {
  if (isDirectory) return { members: [name], isOneFile: false };
  const names = files.map((file) => file.path.slice(file.path.lastIndexOf('/') + 1));
  return { members: names, isOneFile: files.length === 1 && files[0]?.path === path };
}
