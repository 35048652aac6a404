/** Reads what jobs wrote into their directories: in two round trips for all of them, only what is new, in bounded pieces. */
import type { Cluster } from '../cluster/executor.ts';
import type { FileEntry, Transport } from '../cluster/transport.ts';
import type { Database } from '../db/database.ts';
import { readHarvestState, type HarvestState } from '../db/read/harvest-state.ts';
import type { TrackedAttemptRow } from '../db/read/tracked-attempts.ts';
import type { FileCursor } from '../db/write/harvest.ts';
import { parseExitRecord, type ExitRecord } from '../domain/attempt-change.ts';
import { parseCheckpointLine, type LoggedCheckpoint } from '../domain/checkpoint-line.ts';
import type { JsonObject } from '../domain/job-spec.ts';
import { LOG_TAIL_BYTES, planLines, planTail, SMALL_FILE_BYTES, type PlannedRead } from '../domain/harvest-plan.ts';
import { batchDirectory, CHECKPOINT_LINES_FILE, checkpointLinesPath, errorPath, EVENTS_FILE, eventsPath, exitRecordPath, ownerPath, resultPath } from '../domain/layout.ts';
import type { ReadOptions } from '../domain/readers/reader.ts';
import { lookForCheckpoints, type FoundCheckpoints } from './harvest-checkpoints.ts';
import { listJobs } from './harvest-list.ts';
import { parseNote, readItemLines, type LinesRead } from './harvest-lines.ts';
import { planStreams, readStreams, type HarvestedMetrics, type PlannedStream } from './harvest-metrics.ts';
import { readStart, type FoundStart } from './harvest-start.ts';

/** Deep enough for the metrics of MLflow and the files of a checkpoint directory; what lies deeper is not counted into its size. */
export const LIST_DEPTH = 6;
/** Bounds the answer to the listings of a round: some 30 MB of text. */
export const LIST_MAX_ENTRIES = 200_000;
/** Bytes of growing files taken in during one round; what does not fit waits for the next. */
const ROUND_BUDGET_BYTES = 64 * 1024 * 1024;

export interface HarvestTarget extends TrackedAttemptRow {
  /** The attempt is known to have ended: its small files are final. */
  ended: boolean;
  /** This is the last look: an unfinished last line counts as a line. */
  closing: boolean;
  /** The log files are wanted, too: those of all tasks of a batch lie in one folder, which must then be listed whole. */
  withLogs: boolean;
}

/** What was found of one job. */
export interface Harvest {
  exitRecord: ExitRecord | null;
  /** Who began to run the attempt, and when; looked for only while the attempt still waits, and when it has ended. */
  start: FoundStart | null;
  metrics: HarvestedMetrics | null;
  notes: LinesRead<JsonObject> | null;
  /** What the job said of its checkpoints. */
  checkpointLines: LinesRead<LoggedCheckpoint> | null;
  /** What is on disk of them, and as which they were recorded before this round. */
  checkpoints: FoundCheckpoints;
  cursors: FileCursor[];
  stdoutTail: string | null;
  stderrTail: string | null;
  errorText: string | null;
  /** Text of result.json, once the attempt has ended. */
  resultText: string | null;
  /** What lies below the job directory. */
  entries: FileEntry[];
  /** How many entries there are beyond those, at least. */
  leftOutCount: number;
  /** Something in or below the job directory could not be read. */
  isUnreadable: boolean;
  /** How long it took to list the job directory, in milliseconds; null where it has not too many files. */
  listMs: number | null;
  /** There is more to read: the job is not yet to be shown as finished. */
  hasMore: boolean;
}

type Role = 'notes' | 'checkpoints' | 'stdout' | 'stderr' | 'error' | 'exit' | 'result' | 'owner';
interface Reading extends PlannedRead {
  jobId: string;
  jobDirectory: string;
  role: Role;
}

export interface HarvestDependencies {
  database: Database;
  cluster: Cluster;
  files: Pick<Transport, 'list' | 'read'>;
  now: Date;
}

export async function gatherHarvest(
  { database, cluster, files: machine, now }: HarvestDependencies, targets: HarvestTarget[],
): Promise<Map<string, Harvest>> {
  if (targets.length === 0) return new Map();
  const batches = targets.filter(({ withLogs }) => withLogs).map(({ token }) => batchDirectory(cluster.settings.rootDirectory, token));
  // Before the look: what changes while it is taken is then known to be newer than it.
  const state = await readHarvestState(database, targets.map((target) => target.jobId));
  const listed = await listJobs({ list: (request) => machine.list(request), exec: (...command) => cluster.transport.exec(...command) },
    { jobs: targets.map(({ jobDirectory }) => jobDirectory), others: [...new Set(batches)] }, { maxDepth: LIST_DEPTH, maxEntries: LIST_MAX_ENTRIES });
  const byJob = new Map(targets.map(({ jobId, jobDirectory }): [string, FileEntry[]] => [jobId, listed.entries.get(jobDirectory) ?? []]));
  const files = new Map([...listed.others, ...[...byJob.values()].flat()].filter((entry) => entry.kind === 'file').map((entry) => [entry.path, entry]));
  const { readings, streams, postponed } = planReadings(targets, files, byJob, state);
  const wanted = [...readings, ...streams.flatMap(({ jobDirectory, plan }) => plan.wanted.map((each) => ({ ...each, path: `${jobDirectory}/${each.path}` })))];
  const contents = await machine.read(wanted.map(({ path, offsetBytes, maxBytes }) => ({ path, offsetBytes, maxBytes })));
  const harvests = new Map(targets.map(({ jobId, jobDirectory }) => [jobId, emptyHarvest({
    entries: byJob.get(jobId) ?? [], leftOutCount: listed.leftOut.get(jobDirectory) ?? 0, isUnreadable: listed.unreadable.has(jobDirectory), listMs: listed.listMs.get(jobDirectory) ?? null, hasMore: postponed.has(jobId),
  })]));
  const closing = new Set(targets.filter((target) => target.closing).map((target) => target.jobId));
  for (const [index, reading] of readings.entries()) {
    const content = contents[index];
    if (content) takeIn(harvests.get(reading.jobId)!, reading, content, { now, atEnd: closing.has(reading.jobId) && !reading.hasMore });
  }
  takeInMetrics(streams, contents.slice(readings.length), harvests, (jobId) => ({ now, atEnd: closing.has(jobId) }));
  takeInStarts(targets, readings, contents, files, harvests);
  const found = await lookForCheckpoints(machine, targets.map(({ jobId, jobDirectory }) => ({
    jobId, jobDirectory, entries: byJob.get(jobId) ?? [], known: state.checkpoints.get(jobId) ?? [], mayHaveArchives: state.mayHaveArchives, logged: harvests.get(jobId)?.checkpointLines?.items ?? [],
  })), now);
  for (const [jobId, checkpoints] of found) harvests.get(jobId)!.checkpoints = checkpoints;
  return harvests;
}

function emptyHarvest(found: Pick<Harvest, 'entries' | 'leftOutCount' | 'isUnreadable' | 'listMs' | 'hasMore'>): Harvest {
  return {
    checkpoints: { search: { found: [], links: [], pointers: [], archives: [], filledFolders: new Set() }, heads: new Map(), known: [], logged: [] },
    exitRecord: null, start: null, metrics: null, notes: null, checkpointLines: null, cursors: [], stdoutTail: null, stderrTail: null, errorText: null, resultText: null, ...found,
  };
}

interface PlannedRound {
  readings: Reading[];
  streams: PlannedStream[];
  /** Jobs of which not everything is read in this round. */
  postponed: Set<string>;
}

function planReadings(targets: HarvestTarget[], files: Map<string, FileEntry>, byJob: Map<string, FileEntry[]>, state: HarvestState): PlannedRound {
  const round: PlannedRound = { readings: [], streams: [], postponed: new Set() };
  let budget = ROUND_BUDGET_BYTES;
  const fits = (jobId: string, bytes: number): boolean => {
    const isIn = bytes <= budget;
    if (isIn) budget -= bytes;
    else round.postponed.add(jobId);
    return isIn;
  };
  for (const target of targets) {
    for (const [role, path] of pathsOf(target)) {
      const file = path === null ? undefined : files.get(path);
      if (file === undefined) continue;
      const cursor = state.cursors.get(target.jobId)?.get(file.path);
      const planned = role === 'notes' || role === 'checkpoints' ? planLines(file, cursor) : planTail(file, cursor, tailBytes(role));
      if (planned === null || !fits(target.jobId, planned.maxBytes)) continue;
      if (planned.hasMore) round.postponed.add(target.jobId);
      round.readings.push({ ...planned, jobId: target.jobId, jobDirectory: target.jobDirectory, role });
    }
    const { streams, hasMore } = planStreams(target, byJob.get(target.jobId) ?? [], state.cursors.get(target.jobId));
    for (const stream of streams) if (fits(target.jobId, stream.plan.wanted.reduce((sum, each) => sum + each.maxBytes, 0))) round.streams.push(stream);
    if (hasMore) round.postponed.add(target.jobId);
  }
  return round;
}

function takeInMetrics(
  streams: PlannedStream[], contents: (Buffer | null)[], harvests: Map<string, Harvest>, optionsOf: (jobId: string) => ReadOptions,
): void {
  const byJob = new Map<string, { stream: PlannedStream; contents: (Buffer | null)[] }[]>();
  let next = 0;
  for (const stream of streams) {
    const end = next + stream.plan.wanted.length;
    const ofJob = byJob.get(stream.jobId) ?? [];
    ofJob.push({ stream, contents: contents.slice(next, end) });
    byJob.set(stream.jobId, ofJob);
    next = end;
  }
  for (const [jobId, ofJob] of byJob) {
    const harvest = harvests.get(jobId)!;
    harvest.metrics = readStreams(ofJob, optionsOf(jobId));
    harvest.cursors.push(...harvest.metrics.cursors);
    if (harvest.metrics.hasMore) harvest.hasMore = true;
  }
}

function pathsOf(target: HarvestTarget): [Role, string | null][] {
  const { jobDirectory, attemptNumber } = target;
  const always: [Role, string | null][] = [
    ['notes', eventsPath(jobDirectory)], ['checkpoints', checkpointLinesPath(jobDirectory)], ['stdout', target.stdoutPath], ['stderr', target.stderrPath],
    ['exit', exitRecordPath(jobDirectory, attemptNumber)],
    ...(target.ended || target.state === 'PENDING' || target.state === 'CONFIGURING' ? [['owner', ownerPath(jobDirectory, attemptNumber)] as [Role, string]] : []),
  ];
  return target.ended ? [...always, ['error', errorPath(jobDirectory)], ['result', resultPath(jobDirectory)]] : always;
}

/** The exit record is wanted each time, as evidence; the other small files only when they changed. */
function tailBytes(role: Role): number {
  return role === 'exit' || role === 'result' ? SMALL_FILE_BYTES : LOG_TAIL_BYTES;
}

function takeIn(harvest: Harvest, reading: Reading, content: Buffer, options: ReadOptions): void {
  const cursorAt = (position: PlannedRead['from']): void => { harvest.cursors.push({ jobId: reading.jobId, path: reading.path, ...position }); };
  switch (reading.role) {
    case 'notes':
      harvest.notes = readItemLines(content, reading.from, options, EVENTS_FILE, parseNote);
      if (harvest.notes.hasMore) harvest.hasMore = true;
      return cursorAt(harvest.notes.cursor);
    case 'checkpoints':
      harvest.checkpointLines = readItemLines(
        content, reading.from, options, CHECKPOINT_LINES_FILE, (text) => parseCheckpointLine(text, reading.jobDirectory, options.now));
      if (harvest.checkpointLines.hasMore) harvest.hasMore = true;
      return cursorAt(harvest.checkpointLines.cursor);
    case 'stdout':
      harvest.stdoutTail = tailText(content, reading);
      return cursorAt(reading.from);
    case 'stderr':
      harvest.stderrTail = tailText(content, reading);
      return cursorAt(reading.from);
    case 'error':
      harvest.errorText = tailText(content, reading);
      return cursorAt(reading.from);
    // No cursor: these are wanted again if the round that read them cannot be committed, or comes to no decision.
    case 'exit':
      harvest.exitRecord = parseExitRecord(content.toString('utf8'));
      return;
    case 'result':
      harvest.resultText = content.toString('utf8');
      return;
    case 'owner':
  }
}

/** Once all else is read: the script's own note of its start is more exact than the time of a file. */
function takeInStarts(
  targets: HarvestTarget[], readings: Reading[], contents: (Buffer | null)[], files: Map<string, FileEntry>, harvests: Map<string, Harvest>,
): void {
  const targetOf = new Map(targets.map((target) => [target.jobId, target]));
  for (const [index, { role, jobId, path }] of readings.entries()) {
    const target = targetOf.get(jobId);
    const harvest = harvests.get(jobId);
    if (role !== 'owner' || target === undefined || harvest === undefined) continue;
    harvest.start = readStart(target.attemptNumber, contents[index]?.toString('utf8') ?? '', files.get(path)?.modifiedAt ?? null, harvest.notes?.items ?? []);
  }
}

/** Text for the database, which takes no NUL. A first line that is cut is left out, unless nothing else is left. */
function tailText(content: Buffer, { offsetBytes }: PlannedRead): string {
  const text = content.toString('utf8').replaceAll('\0', '\uFFFD');
  const secondLine = offsetBytes === 0 ? 0 : text.indexOf('\n') + 1;
  return secondLine < text.length ? text.slice(secondLine) : text;
}
