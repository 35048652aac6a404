/** Checkpoints of jobs: what a listing shows of them, and what has to be looked into before one is known to be whole. */
import type { FileEntry, Transport } from '../cluster/transport.ts';
import type { CheckpointRow } from '../db/read/harvest-state.ts';
import type { LoggedCheckpoint } from '../domain/checkpoint-line.ts';
import { possibleOriginals } from '../domain/checkpoint-requests/archive-name.ts';
import { isUndecided, scanCheckpoints, type CheckpointChange, type CheckpointState, type KnownCheckpoint } from '../domain/checkpoint-scan.ts';
import { findCheckpoints, type CheckpointSearch } from '../domain/checkpoint-search.ts';
import { headsOf, longerHeadsOf, type WantedHead } from '../domain/checkpoint-whole.ts';

/** Beginnings of files that are read in a round, of all jobs together; more checkpoints than this wait to be decided. */
const ROUND_HEADS_BYTES = 32 * 1024 * 1024;
/** A pointer holds a name. */
const POINTER_BYTES = 4096;
/** For so long after it was written a pointer is read again: it is written when its checkpoint is already whole. */
const POINTER_FRESH_MS = 120_000;

/** What is found of the checkpoints of one job, before it is decided what has changed. */
export interface FoundCheckpoints {
  search: CheckpointSearch;
  heads: Map<string, Buffer>;
  known: KnownCheckpoint[];
  logged: LoggedCheckpoint[];
}

export interface CheckpointTarget {
  jobId: string;
  jobDirectory: string;
  entries: readonly FileEntry[];
  known: readonly CheckpointRow[];
  /** Ids of those of which there may be archives, whatever their state. */
  mayHaveArchives: ReadonlySet<string>;
  logged: LoggedCheckpoint[];
}

/** Finds the checkpoints of all jobs and looks into those that are undecided: two round trips, and none where nothing is new. */
export async function lookForCheckpoints(machine: Pick<Transport, 'read'>, targets: CheckpointTarget[], now: Date): Promise<Map<string, FoundCheckpoints>> {
  const found = new Map(targets.map((target) => [target.jobId, searchCheckpoints(target)]));
  const first: JobHead[] = [];
  for (const { jobId, jobDirectory } of targets) {
    const { search: { found: checkpoints, pointers }, known } = found.get(jobId)!;
    const knownAt = new Map(known.map((checkpoint) => [checkpoint.relativePath, checkpoint]));
    const undecided = checkpoints.filter((checkpoint) => isUndecided(checkpoint, knownAt.get(checkpoint.path)));
    const due = pointers.filter(({ modifiedAt }) => undecided.length > 0 || now.getTime() - modifiedAt.getTime() < POINTER_FRESH_MS);
    first.push(...[...undecided.flatMap(headsOf), ...due.map(({ relativePath }) => ({ path: relativePath, maxBytes: POINTER_BYTES }))].map((head) => ({ jobId, jobDirectory, ...head })));
  }
  await readHeads(machine, first, found);
  const wasRead = new Set(first.map(({ jobId }) => jobId));
  const second = targets.filter(({ jobId }) => wasRead.has(jobId)).flatMap(({ jobId, jobDirectory }) => {
    const { search: { found: checkpoints }, heads } = found.get(jobId)!;
    return checkpoints.flatMap((checkpoint) => longerHeadsOf(checkpoint, heads)).map((head) => ({ jobId, jobDirectory, ...head }));
  });
  await readHeads(machine, second, found);
  return found;
}

interface JobHead extends WantedHead {
  jobId: string;
  jobDirectory: string;
}

async function readHeads(machine: Pick<Transport, 'read'>, wanted: JobHead[], found: Map<string, FoundCheckpoints>): Promise<void> {
  let budget = ROUND_HEADS_BYTES;
  const now = wanted.filter(({ maxBytes }) => (budget -= maxBytes) >= 0);
  if (now.length === 0) return;
  const contents = await machine.read(now.map(({ jobDirectory, path, maxBytes }) => ({ path: `${jobDirectory}/${path}`, offsetBytes: 0, maxBytes })));
  for (const [index, { jobId, path }] of now.entries()) {
    const content = contents[index];
    if (content) found.get(jobId)?.heads.set(path, content);
  }
}

/** Finds the checkpoints of a job in the listing of its directory. */
export function searchCheckpoints({ jobDirectory, entries, known, mayHaveArchives, logged }: Omit<CheckpointTarget, 'jobId'>): FoundCheckpoints {
  const below = `${jobDirectory}/`;
  const inside = known.filter(({ path }) => path.startsWith(below))
    .map((row) => ({ ...row, relativePath: row.path.slice(below.length), archivePath: row.archivePath?.slice(below.length) ?? null, missedArchivePath: missedArchive(row)?.slice(below.length) ?? null }));
  const declared = new Set([...inside.filter(({ isDeclared }) => isDeclared).map(({ relativePath }) => relativePath), ...logged.map(({ path }) => path)]);
  const listed = entries.filter(({ path }) => path.startsWith(below)).map((entry) => ({ ...entry, relativePath: entry.path.slice(below.length) }));
  const packed = new Set(inside.filter(({ id, state, earlierArchives }) => state === 'ARCHIVED' || earlierArchives.length > 0 || mayHaveArchives.has(id)).map(({ relativePath }) => relativePath));
  const present = new Set([...declared, ...inside.filter(({ state }) => state !== 'DELETED').map(({ relativePath }) => relativePath)]);
  const archives = new Set(listed.map(({ relativePath }) => relativePath).filter((path) => !present.has(path) && possibleOriginals(path).some((original) => packed.has(original))));
  return { search: findCheckpoints(listed, { declared, archives }), heads: new Map(), known: inside, logged };
}

/** Where the archive of what was recorded last lay; null of what was written anew after it was archived. */
function missedArchive({ state, earlierArchives, writtenAt }: CheckpointRow): string | null {
  const last = state === 'DELETED' ? earlierArchives.at(-1) : undefined;
  return last !== undefined && new Date(last.archivedAt) > writtenAt ? last.path : null;
}

/** A change with its absolute path and, of what was looked at, the state that was known before the look; null of what is new. */
type FoundChange = CheckpointChange & { path: string; stateBefore?: CheckpointState | null };

/** What changed since it was recorded, with absolute paths. What the job said of files that lie elsewhere is taken at its word. */
export function checkpointChanges(
  { search: found, heads, known, logged }: FoundCheckpoints, { jobDirectory, now, jobEnded, truncated }: { jobDirectory: string; now: Date; jobEnded: boolean; truncated: boolean },
): FoundChange[] {
  const isElsewhere = ({ path }: LoggedCheckpoint): boolean => path.startsWith('/');
  const changes = scanCheckpoints({ search: found, known, logged: logged.filter((line) => !isElsewhere(line)), heads, jobDirectory, now, jobEnded, truncated });
  const elsewhere = new Map(logged.filter(isElsewhere).map((line) => [line.path, line]));
  const before = new Map(known.map(({ relativePath, state }) => [relativePath, state]));
  return [
    ...changes.map((change) => ({ ...change, path: `${jobDirectory}/${change.relativePath}`, stateBefore: before.get(change.relativePath) ?? null })),
    ...[...elsewhere.values()].map(({ path, step, epoch, metrics, aliases, time }): FoundChange => ({
      path, relativePath: path, state: 'COMPLETE', sizeBytes: 0, fileCount: 1, aliases, writtenAt: time, layout: null, loggedMetrics: metrics, isDeclared: true,
      step: step === null ? null : { value: step, source: 'LOGGED', confidence: 'CERTAIN' },
      epoch: epoch === null ? null : { value: epoch, source: 'LOGGED', confidence: 'CERTAIN' },
    })),
  ];
}
