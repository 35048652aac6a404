/**
 * What a listing of a job's `checkpoints/` says about its checkpoints. Each file or directory at the top level is one.
 *
 *   WRITING -> COMPLETE -> DELETED      COMPLETE -> WRITING when it is written again, DELETED -> WRITING when it is back
 *   WRITING -> PARTIAL                  when the job ended and it still has a temporary name or no bytes
 */
import { parseCheckpointName } from './checkpoint-name.ts';

export const CHECKPOINT_STATES = ['WRITING', 'COMPLETE', 'PARTIAL', 'DELETED'] as const;
/** WRITING: still changing. COMPLETE: whole. PARTIAL: its writer ended before it was whole. DELETED: no longer on disk. */
export type CheckpointState = (typeof CHECKPOINT_STATES)[number];

/** One entry somewhere below `checkpoints/`. */
export interface CheckpointEntry {
  /** Relative to `checkpoints/`, with `/` between parts. */
  relativePath: string;
  kind: 'file' | 'directory' | 'link' | 'other';
  sizeBytes: number;
  modifiedAt: Date;
  /** What a link points at, as written; null for anything else. */
  linkTarget: string | null;
}

/** A checkpoint as it was last recorded. */
export interface KnownCheckpoint {
  relativePath: string;
  state: CheckpointState;
  sizeBytes: number;
  fileCount: number;
  aliases: string[];
  writtenAt: Date;
}

/** A checkpoint that is new or differs from what is known. */
export interface CheckpointChange extends KnownCheckpoint {
  step: number | null;
  epoch: number | null;
}

export interface ScanMoment {
  /** Absolute path of `checkpoints/`: what absolute links are measured against. */
  checkpointsDirectory: string;
  now: Date;
  jobEnded: boolean;
  /** The listing stopped early: what it lacks may still be there. */
  truncated: boolean;
}

/** A writer that pauses for less than this is taken to be still writing. */
const QUIET_MS = 2000;
const MAX_LINK_HOPS = 8;
const TEMPORARY_NAME = /^\.|^tmp[-_.]|-tmp|\.tmp|\.(?:part|partial|incomplete)$|~$/i;
const TEMPORARY_FILE_INSIDE = /\.(?:tmp|part|partial|incomplete)$/i;

/**
 * Every checkpoint that changed since it was recorded in `known` (paths relative to `checkpoints/` likewise). While the
 * job runs, one is COMPLETE when two listings in a row agree on it and it was not written within the last two seconds;
 * afterwards at once. Aliases come from the name and from links; others that are known (somebody recorded them) stay.
 */
export function scanCheckpoints(
  entries: readonly CheckpointEntry[], known: readonly KnownCheckpoint[], moment: ScanMoment,
): CheckpointChange[] {
  const present = gather(entries);
  const links = linkAliases(entries, moment.checkpointsDirectory);
  const linkNames = new Set([...links.values()].flat());
  const knownAt = new Map(known.map((checkpoint) => [checkpoint.relativePath, checkpoint]));
  const changes: CheckpointChange[] = [];
  for (const found of present.values()) {
    const before = knownAt.get(found.relativePath);
    const { step, epoch, aliases } = parseCheckpointName(found.relativePath);
    const linked = links.get(found.relativePath) ?? [];
    const recorded = (before?.aliases ?? []).filter((alias) => !linkNames.has(alias));
    const { relativePath, sizeBytes, fileCount, writtenAt } = found;
    const after = {
      relativePath, sizeBytes, fileCount, writtenAt, step, epoch,
      state: stateOf(found, before, moment),
      aliases: [...new Set([...aliases, ...linked, ...recorded])].sort(),
    };
    if (before === undefined || differs(before, after)) changes.push(after);
  }
  return moment.truncated ? changes : [...changes, ...vanished(known, present)];
}

interface FoundCheckpoint {
  relativePath: string;
  sizeBytes: number;
  fileCount: number;
  writtenAt: Date;
  isTemporary: boolean;
}

function gather(entries: readonly CheckpointEntry[]): Map<string, FoundCheckpoint> {
  const found = new Map<string, FoundCheckpoint>();
  const topLevelLinks = new Set(entries.filter(({ kind, relativePath }) => kind === 'link' && !relativePath.includes('/')).map((entry) => entry.relativePath));
  for (const { relativePath, kind, sizeBytes, modifiedAt } of entries) {
    const top = relativePath.split('/', 1)[0] ?? relativePath;
    if (topLevelLinks.has(top) || kind === 'other' || kind === 'link') continue;
    const checkpoint = found.get(top) ?? { relativePath: top, sizeBytes: 0, fileCount: 0, writtenAt: modifiedAt, isTemporary: TEMPORARY_NAME.test(top) };
    if (kind === 'file') {
      checkpoint.sizeBytes += sizeBytes;
      checkpoint.fileCount += 1;
      if (top !== relativePath && TEMPORARY_FILE_INSIDE.test(relativePath)) checkpoint.isTemporary = true;
    }
    if (modifiedAt > checkpoint.writtenAt) checkpoint.writtenAt = modifiedAt;
    found.set(top, checkpoint);
  }
  return found;
}

function stateOf(found: FoundCheckpoint, before: KnownCheckpoint | undefined, { now, jobEnded }: ScanMoment): CheckpointState {
  const unfinished = found.isTemporary || found.sizeBytes === 0;
  if (jobEnded) return unfinished ? 'PARTIAL' : 'COMPLETE';
  if (unfinished || before === undefined || !sameBytes(found, before)) return 'WRITING';
  if (before.state === 'COMPLETE') return 'COMPLETE';
  return before.state !== 'DELETED' && now.getTime() - found.writtenAt.getTime() >= QUIET_MS ? 'COMPLETE' : 'WRITING';
}

function sameBytes(a: FoundCheckpoint, b: KnownCheckpoint): boolean {
  return a.sizeBytes === b.sizeBytes && a.fileCount === b.fileCount && a.writtenAt.getTime() === b.writtenAt.getTime();
}

function differs(before: KnownCheckpoint, after: CheckpointChange): boolean {
  return before.state !== after.state || before.sizeBytes !== after.sizeBytes || before.fileCount !== after.fileCount
    || before.writtenAt.getTime() !== after.writtenAt.getTime() || [...before.aliases].sort().join('\0') !== after.aliases.join('\0');
}

function vanished(known: readonly KnownCheckpoint[], present: ReadonlyMap<string, FoundCheckpoint>): CheckpointChange[] {
  return known
    .filter(({ relativePath, state }) => state !== 'DELETED' && !present.has(relativePath.split('/', 1)[0] ?? relativePath))
    .map((checkpoint) => {
      const { step, epoch } = parseCheckpointName(checkpoint.relativePath);
      return { ...checkpoint, step, epoch, state: 'DELETED', aliases: [] };
    });
}

/** For each top-level path the names, less their endings, of the top-level links that lead to it. */
function linkAliases(entries: readonly CheckpointEntry[], checkpointsDirectory: string): Map<string, string[]> {
  const targets = new Map<string, string>();
  for (const { relativePath, kind, linkTarget } of entries) {
    if (kind !== 'link' || linkTarget === null || relativePath.includes('/')) continue;
    const target = topLevelTarget(linkTarget, checkpointsDirectory);
    if (target !== null) targets.set(relativePath, target);
  }
  const aliases = new Map<string, string[]>();
  for (const link of targets.keys()) {
    let end = link;
    for (let hop = 0; hop < MAX_LINK_HOPS && targets.has(end); hop += 1) end = targets.get(end) ?? end;
    if (targets.has(end)) continue;
    aliases.set(end, [...(aliases.get(end) ?? []), link.replace(/\.[A-Za-z][A-Za-z0-9]*$/, '')]);
  }
  return aliases;
}

function topLevelTarget(linkTarget: string, checkpointsDirectory: string): string | null {
  const root = `${checkpointsDirectory.replace(/\/+$/, '')}/`;
  const relative = linkTarget.startsWith(root) ? linkTarget.slice(root.length) : linkTarget;
  if (relative.startsWith('/')) return null;
  const [top = ''] = relative.split('/').filter((part) => part !== '' && part !== '.');
  return top === '' || top === '..' ? null : top;
}
