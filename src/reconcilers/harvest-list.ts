/** Lists the directories of many jobs in bounded memory, so that one with too many files is cut short itself and hides no other's. */
import { countEntries } from '../cluster/transport/count-entries.ts';
import { TransportError, type FileEntry, type Listing, type Transport } from '../cluster/transport.ts';
import { ATTEMPTS_DIRECTORY } from '../domain/layout.ts';

/** Entries of one job that are looked at: far more than training leaves, room for 10,000 metrics of MLflow, and some megabytes of text. */
const MAX_ENTRIES_PER_JOB = 25_000;
/** Commands for one job with more than that. */
const MAX_LISTS_PER_JOB = 40;
/** Counting ends here: what is left out is told as at least so many. */
const MAX_COUNTED = 200_000;
/** Jobs that are counted in a round: the command is bounded. Of more it is only told that something is left out. */
const MAX_JOBS_COUNTED = 100;

export interface ListedJobs {
  /** By job directory. */
  entries: Map<string, FileEntry[]>;
  /** Job directories that hold more than was listed, and how many entries were left out at least. */
  leftOut: Map<string, number>;
  /** Job directories in or below which something could not be read: what is not listed of them may still be there. */
  unreadable: Set<string>;
  /** Job directories with too many files, and how long it took to list each, in milliseconds. */
  listMs: Map<string, number>;
  /** What lies in the other directories. */
  others: FileEntry[];
}

/**
 * Everything in the directories of jobs, and in some others. A job with too many files is listed part by part: all that lies in its directory
 * itself, then its folders, each for itself, ours first. So its metrics and its end are seen, however many files a checkpoint has.
 */
export async function listJobs(
  { list, exec }: Pick<Transport, 'list' | 'exec'>, { jobs, others }: { jobs: string[]; others: string[] }, bounds: { maxDepth: number; maxEntries: number },
): Promise<ListedJobs> {
  const maxEntries = Math.min(bounds.maxEntries, (jobs.length + others.length) * (MAX_ENTRIES_PER_JOB + 1));
  const { entries, truncated, unreadable } = await listDirectories({ list }, [...jobs, ...others], { ...bounds, maxEntries });
  const byJob = new Map(jobs.map((job): [string, FileEntry[]] => [job, []]));
  const rest: FileEntry[] = [];
  for (const entry of entries) (byJob.get(directoryAbove(entry.path, byJob, bounds.maxDepth) ?? '') ?? rest).push(entry);
  const overfull = jobs.filter((job) => truncated.has(job) || (byJob.get(job)?.length ?? 0) > MAX_ENTRIES_PER_JOB);
  const counts = await countEntries(exec, overfull.slice(0, MAX_JOBS_COUNTED), bounds.maxDepth, MAX_COUNTED);
  const leftOut = new Map<string, number>();
  const listMs = new Map<string, number>();
  for (const [index, job] of overfull.entries()) {
    const begun = performance.now();
    const { entries: listed, isWhole } = await listInParts({ list }, job, bounds.maxDepth);
    if (!isWhole) unreadable.add(job);
    byJob.set(job, listed);
    listMs.set(job, performance.now() - begun);
    const count = counts[index] ?? null;
    if (count === null || count > listed.length) leftOut.set(job, Math.max(1, (count ?? 0) - listed.length));
  }
  return { entries: byJob, leftOut, unreadable, listMs, others: rest };
}

function directoryAbove(path: string, directories: ReadonlyMap<string, unknown>, maxDepth: number): string | null {
  let directory = path;
  for (let depth = 0; depth < maxDepth; depth += 1) {
    directory = directory.slice(0, directory.lastIndexOf('/'));
    if (directories.has(directory)) return directory;
  }
  return null;
}

/** Not whole where something could not be read. */
async function listInParts(transport: Pick<Transport, 'list'>, job: string, maxDepth: number): Promise<{ entries: FileEntry[]; isWhole: boolean }> {
  const listed: FileEntry[] = [];
  let isWhole = true;
  let lists = MAX_LISTS_PER_JOB;
  const listOne = async (directory: string, depth: number): Promise<Listing> => {
    lists -= 1;
    // Never all that is left: what comes after it is to have room, too.
    const answer = await listOnce(transport, [directory], depth, Math.ceil((MAX_ENTRIES_PER_JOB - listed.length) / 2));
    isWhole &&= answer.unreadable.length === 0;
    return answer;
  };
  const visit = async (directory: string, depth: number): Promise<void> => {
    if (lists <= 0 || listed.length >= MAX_ENTRIES_PER_JOB) return;
    const whole = await listOne(directory, depth);
    if (!whole.truncated || depth === 1) return void listed.push(...whole.entries);
    const top = await listOne(directory, 1);
    listed.push(...top.entries);
    const isOurs = ({ path }: FileEntry): boolean => path === `${job}/${ATTEMPTS_DIRECTORY}`;
    const folders = top.entries.filter(({ kind }) => kind === 'directory').toSorted((a, b) => Number(isOurs(b)) - Number(isOurs(a)) || (a.path < b.path ? -1 : 1));
    for (const { path } of folders) await visit(path, depth - 1);
  };
  await visit(job, maxDepth);
  return { entries: listed, isWhole };
}

export interface Listed {
  entries: FileEntry[];
  /** Directories whose listing stopped early. */
  truncated: Set<string>;
  /** Directories in or below which something could not be read. */
  unreadable: Set<string>;
}

/** All at once; where that is too much, by halves, each with half of the room. */
export async function listDirectories(
  transport: Pick<Transport, 'list'>, directories: string[], { maxDepth, maxEntries }: { maxDepth: number; maxEntries: number },
): Promise<Listed> {
  const { entries, truncated, unreadable } = await listOnce(transport, directories, maxDepth, maxEntries);
  if (!truncated) return { entries, truncated: new Set(), unreadable: new Set(unreadable) };
  if (directories.length === 1) return { entries, truncated: new Set(directories), unreadable: new Set(unreadable) };
  const half = Math.ceil(directories.length / 2);
  const bounds = { maxDepth, maxEntries: Math.ceil(maxEntries / 2) };
  const first = await listDirectories(transport, directories.slice(0, half), bounds);
  const second = await listDirectories(transport, directories.slice(half), bounds);
  return {
    entries: [...first.entries, ...second.entries],
    truncated: new Set([...first.truncated, ...second.truncated]), unreadable: new Set([...first.unreadable, ...second.unreadable]),
  };
}

async function listOnce(transport: Pick<Transport, 'list'>, directories: string[], maxDepth: number, maxEntries: number): Promise<Listing> {
  try {
    return await transport.list({ directories, maxDepth, maxEntries });
  } catch (error) {
    // Few files with very long names.
    if (error instanceof TransportError && error.failure === 'output-limit') return { entries: [], truncated: true, unreadable: [] };
    throw error;
  }
}
