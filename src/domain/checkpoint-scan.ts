/**
 * What a listing of a job directory says about the job's checkpoints.
 *
 *   WRITING -> COMPLETE -> DELETED      COMPLETE -> WRITING when it is written again, DELETED -> WRITING when it is back
 *   WRITING -> PARTIAL                  when parts are missing that should be there, or the job ended before it was whole
 *   PARTIAL -> WRITING                  when it is written on
 *   ARCHIVED                            for as long as there is its archive and nothing in its old place, or nobody can see whether there is
 *   DELETED -> ARCHIVED                 when its archive is back
 *
 * What has a temporary name is not recorded before the job has ended; then it is PARTIAL.
 */
import { LAYOUT_READERS, readLayout } from './checkpoint-layouts/all-layouts.ts';
import type { CheckpointFacts, CheckpointLayout, CheckpointReading, FoundCheckpoint, Position } from './checkpoint-layouts/layout.ts';
import { aliasOfLink, followLinks } from './checkpoint-links.ts';
import type { LoggedCheckpoint } from './checkpoint-line.ts';
import type { CheckpointSearch } from './checkpoint-search.ts';
import { missingPart, type FileHeads } from './checkpoint-whole.ts';

export const CHECKPOINT_STATES = ['WRITING', 'COMPLETE', 'PARTIAL', 'DELETED', 'ARCHIVED'] as const;
/**
 * WRITING: still changing. COMPLETE: whole. PARTIAL: its writer ended before it was whole. DELETED: no longer on disk. ARCHIVED: its place was
 * taken by a compressed archive.
 */
export type CheckpointState = (typeof CHECKPOINT_STATES)[number];

/** A checkpoint as it was last recorded. */
export interface KnownCheckpoint {
  /** Relative to the job directory. */
  relativePath: string;
  state: CheckpointState;
  sizeBytes: number;
  fileCount: number;
  aliases: string[];
  writtenAt: Date;
  /** Of an ARCHIVED one: where its archive lies, relative to the job directory. */
  archivePath?: string | null;
  /** Of a DELETED one: where its archive lay that was missed, relative to the job directory. */
  missedArchivePath?: string | null;
}

/** A checkpoint that is new or differs from what is known. Null: nothing tells. */
export interface CheckpointChange extends KnownCheckpoint {
  layout: CheckpointLayout | null;
  step: Position | null;
  epoch: Position | null;
  /** What the job said were its metrics. */
  loggedMetrics: Record<string, number> | null;
  /** The job itself said that this is a checkpoint. */
  isDeclared: boolean;
}

export interface ScanInput {
  search: CheckpointSearch;
  known: readonly KnownCheckpoint[];
  /** What the job itself said since the last scan, of checkpoints below its directory; the later of two counts. */
  logged: readonly LoggedCheckpoint[];
  /** What was read of those that are undecided, and of the pointers. */
  heads: FileHeads;
  /** Absolute path: what absolute links are measured against. */
  jobDirectory: string;
  now: Date;
  jobEnded: boolean;
  /** The listing stopped early: what it lacks may still be there. */
  truncated: boolean;
}

/** A writer that pauses for less than this is taken to be still writing. */
const QUIET_MS = 2000;
const TEMPORARY_NAME = /^\.|^tmp[-_.]|-tmp|\.tmp|\.(?:part|partial|incomplete)$|~$/i;
const TEMPORARY_FILE_INSIDE = /\.(?:tmp|part|partial|incomplete)$/i;
/** What pointers and links may take from one checkpoint and give to another. */
const LAST = 'last';
const BEST = 'best';

/** Whether it is not yet known what state a checkpoint is in: its files are then to be looked into. */
export function isUndecided(found: FoundCheckpoint, before: KnownCheckpoint | undefined): boolean {
  return before === undefined || before.state === 'WRITING' || before.state === 'DELETED' || before.state === 'ARCHIVED' || !sameBytes(found, before);
}

/**
 * Every checkpoint that changed since it was recorded in `known`. While the job runs, one is COMPLETE when two listings in a row agree on
 * it and it was not written within the last two seconds; afterwards at once. Aliases come from names, links, pointer files and from
 * the job; others that are known (somebody recorded them) stay.
 */
export function scanCheckpoints(input: ScanInput): CheckpointChange[] {
  const { search, known, truncated } = input;
  const knownAt = new Map(known.map((checkpoint) => [checkpoint.relativePath, checkpoint]));
  const linkedTo = followLinks(search.links, input.jobDirectory);
  // What is said of a link is said of what it leads to.
  const loggedAt = new Map(input.logged.map((line) => [linkedTo.get(line.path) ?? line.path, line]));
  const seen = search.found.map((found) => ({ found, ...readLayout(found), facts: factsOf(found, input.heads) }));
  const linkNames = new Set([...linkedTo.keys()].map(aliasOfLink));
  const pointed = pointedAt(seen, input);
  const changes: CheckpointChange[] = [];
  for (const { found, reader, reading, facts } of seen) {
    const links = [...linkedTo].filter(([, target]) => target === found.path).map(([link]) => aliasOfLink(link));
    const before = knownAt.get(found.path);
    const logged = loggedAt.get(found.path);
    const recorded = (before?.aliases ?? []).filter((alias) => !linkNames.has(alias) && (pointed.get(`${folderOf(found.path)}/${alias}`) ?? found.name) === found.name);
    const pointers = [LAST, BEST].filter((alias) => pointed.get(`${folderOf(found.path)}/${alias}`) === found.name);
    const after: CheckpointChange = {
      relativePath: found.path, sizeBytes: sizeOf(found), fileCount: found.files.length, writtenAt: found.modifiedAt, layout: reader.layout,
      step: loggedPosition(logged?.step) ?? factPosition(facts.step) ?? reading.step,
      epoch: loggedPosition(logged?.epoch) ?? factPosition(facts.epoch) ?? reading.epoch,
      loggedMetrics: logged?.metrics ?? null, isDeclared: logged !== undefined,
      state: stateOf(found, reading, before, input),
      aliases: [...new Set([...reading.aliases, ...links, ...pointers, ...recorded, ...logged?.aliases ?? []])].sort(),
    };
    // It will be gone in a moment, or called otherwise: what is left of it when the job has ended is of interest.
    const isPassing = before === undefined && logged === undefined && !input.jobEnded && TEMPORARY_NAME.test(found.name);
    if (!isPassing && (before === undefined || logged !== undefined || differs(before, after))) changes.push(after);
  }
  const present = new Set(search.found.map(({ path }) => path));
  // A checkpoint of somebody's own may hold the same and be called like the archive.
  const archives = new Set([...search.archives, ...search.found.filter(({ isDirectory }) => !isDirectory).map(({ path }) => path)]);
  const notYetListed = [...loggedAt].filter(([path]) => !present.has(path)).map(([path, line]) => announced(path, line));
  // The lock file of the run that made an archive stays beside it: a folder that is empty or missing may be that of a file system that is away.
  const isGone = ({ relativePath, state, archivePath }: KnownCheckpoint): boolean => state !== 'DELETED' && !present.has(relativePath) && !loggedAt.has(relativePath)
    && !(state === 'ARCHIVED' && (archives.has(archivePath ?? '') || !search.filledFolders.has(folderOf(archivePath ?? relativePath))));
  const gone = truncated ? [] : known.filter(isGone).map((checkpoint) => movedTo('DELETED', checkpoint));
  const isBack = ({ relativePath, state, missedArchivePath }: KnownCheckpoint): boolean => state === 'DELETED' && !present.has(relativePath) && !loggedAt.has(relativePath)
    && search.archives.includes(missedArchivePath ?? '');
  const back = known.filter(isBack).map((checkpoint) => movedTo('ARCHIVED', checkpoint));
  return [...changes, ...notYetListed, ...gone, ...back];
}

/** The aliases that pointer files and the frameworks' own records give: by folder and alias, the name of the checkpoint. */
function pointedAt(seen: { found: FoundCheckpoint; facts: CheckpointFacts }[], { search, heads }: ScanInput): Map<string, string> {
  const pointed = new Map<string, string>();
  // The record that goes furthest is the one that counts.
  for (const { found, facts } of seen.toSorted((a, b) => (a.facts.step ?? 0) - (b.facts.step ?? 0))) {
    if (facts.bestName !== undefined) pointed.set(`${folderOf(found.path)}/${BEST}`, facts.bestName);
  }
  for (const { relativePath } of search.pointers) {
    const text = heads.get(relativePath)?.toString('utf8');
    const name = relativePath.slice(relativePath.lastIndexOf('/') + 1);
    const target = text === undefined ? null : LAYOUT_READERS.find(({ pointer }) => pointer?.fileName === name)?.pointer?.targetOf(text) ?? null;
    if (target !== null) pointed.set(`${folderOf(relativePath)}/${LAST}`, target);
  }
  return pointed;
}

function factsOf(found: FoundCheckpoint, heads: FileHeads): CheckpointFacts {
  const { facts } = readLayout(found).reader;
  const head = facts === undefined ? undefined : heads.get(`${found.path}/${facts.fileName}`);
  return head === undefined || facts === undefined ? {} : facts.factsOf(head.toString('utf8'));
}

function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function loggedPosition(value: number | null | undefined): Position | null {
  return value === null || value === undefined ? null : { value, source: 'LOGGED', confidence: 'CERTAIN' };
}

function factPosition(value: number | undefined): Position | null {
  return value === undefined ? null : { value, source: 'FILE', confidence: 'CERTAIN' };
}

function sizeOf({ files }: FoundCheckpoint): number {
  return files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

function stateOf(found: FoundCheckpoint, reading: CheckpointReading, before: KnownCheckpoint | undefined, { now, jobEnded, truncated, heads }: ScanInput): CheckpointState {
  const isNamedTemporary = TEMPORARY_NAME.test(found.name) || found.files.some(({ path }) => path !== found.path && TEMPORARY_FILE_INSIDE.test(path));
  const unfinished = reading.isUnfinished || isNamedTemporary || sizeOf(found) === 0;
  const isSame = before !== undefined && sameBytes(found, before);
  if (isSame && (before.state === 'COMPLETE' || before.state === 'PARTIAL')) return before.state;
  const lacksPart = (): boolean => missingPart(found, heads, { truncated }) !== null;
  if (jobEnded) return unfinished || lacksPart() ? 'PARTIAL' : 'COMPLETE';
  const isQuiet = isSame && before.state !== 'DELETED' && now.getTime() - found.modifiedAt.getTime() >= QUIET_MS;
  if (unfinished || !isQuiet) return 'WRITING';
  return lacksPart() ? 'PARTIAL' : 'COMPLETE';
}

function sameBytes(found: FoundCheckpoint, known: KnownCheckpoint): boolean {
  return sizeOf(found) === known.sizeBytes && found.files.length === known.fileCount && found.modifiedAt.getTime() === known.writtenAt.getTime();
}

function differs(before: KnownCheckpoint, after: CheckpointChange): boolean {
  return before.state !== after.state || before.sizeBytes !== after.sizeBytes || before.fileCount !== after.fileCount
    || before.writtenAt.getTime() !== after.writtenAt.getTime() || [...before.aliases].sort().join('\0') !== after.aliases.join('\0');
}

/** The job said so after the directory was listed: the next listing will show it. */
function announced(path: string, { step, epoch, metrics, aliases, time }: LoggedCheckpoint): CheckpointChange {
  return {
    relativePath: path, state: 'WRITING', sizeBytes: 0, fileCount: 0, aliases: [...aliases].sort(), writtenAt: time, layout: null,
    step: loggedPosition(step), epoch: loggedPosition(epoch), loggedMetrics: metrics, isDeclared: true,
  };
}

/** Not in its place any more. */
function movedTo(state: 'DELETED' | 'ARCHIVED', checkpoint: KnownCheckpoint): CheckpointChange {
  return { ...checkpoint, state, aliases: [], layout: null, step: null, epoch: null, loggedMetrics: null, isDeclared: false };
}
