/** Commits what was harvested: points, notes, checkpoints, log tails, results and the cursors that say how far it goes. */
import type { Transaction } from '../db/database.ts';
import type { TrackedAttemptRow } from '../db/read/tracked-attempts.ts';
import { storeAttemptTexts } from '../db/write/attempts.ts';
import { upsertCheckpoints } from '../db/write/checkpoints.ts';
import { addDropped, markHarvested, saveFileCursors, saveUnlistedFileCounts, storeResults, type DroppedOfJob, type NewResult } from '../db/write/harvest.ts';
import { writePoints } from '../db/write/metrics.ts';
import { claimKeys } from '../db/write/series-readers.ts';
import type { ArtifactRow } from '../db/tables/index.ts';
import { isJsonObject } from '../domain/config-values.ts';
import type { NewEvent } from '../domain/events.ts';
import type { JsonObject } from '../domain/job-spec.ts';
import { artifactsDirectory } from '../domain/layout.ts';
import { OVER_SERIES_LIMIT_REASON } from '../domain/series-limit.ts';
import { isTerminalAttemptState, type AttemptState } from '../domain/states.ts';
import { parseStorableObject } from '../domain/storable-json.ts';
import type { Harvest } from './harvest.ts';
import { checkpointChanges } from './harvest-checkpoints.ts';

export interface HarvestedAttempt {
  row: TrackedAttemptRow;
  harvest: Harvest;
  /** State of the attempt after this round. */
  state: AttemptState;
  /** This was the last look at its files. */
  closing: boolean;
}

/** Stores all of it; answers the events to append. */
export async function storeHarvest(transaction: Transaction, harvested: HarvestedAttempt[], now: Date): Promise<NewEvent[]> {
  const dropped: DroppedOfJob[] = [];
  const events = [...await storePoints(transaction, harvested, dropped), ...harvested.flatMap(noteEvents)];
  events.push(...await storeCheckpoints(transaction, harvested, now));
  await storeAttemptTexts(transaction, harvested.flatMap(({ row, harvest: { stdoutTail, stderrTail, errorText } }) => (
    stdoutTail === null && stderrTail === null && errorText === null ? [] : [{ jobId: row.jobId, attemptNumber: row.attemptNumber, stdoutTail, stderrTail, errorText }])));
  await addDropped(transaction, merged([...dropped, ...harvested.flatMap(droppedOf)]));
  await saveUnlistedFileCounts(transaction, harvested.filter(leftOutChanged).map(({ row: { jobId }, harvest }) => ({ jobId, count: harvest.leftOutCount })));
  await saveFileCursors(transaction, harvested.flatMap(({ harvest }) => harvest.cursors));
  events.push(...await storeResults(transaction, harvested.filter(({ state }) => state === 'COMPLETED').map(resultOf)));
  await markHarvested(transaction, harvested.filter(({ closing }) => closing).map(({ row }) => row.jobId));
  return events;
}

/** Whether a round found anything that is worth a transaction. */
export function hasNews(harvested: HarvestedAttempt, now: Date): boolean {
  const { harvest, closing } = harvested;
  return closing || leftOutChanged(harvested) || harvest.cursors.length > 0 || changesOf(harvested, now).length > 0;
}

function leftOutChanged({ row, harvest }: HarvestedAttempt): boolean {
  return row.unlistedFileCount !== harvest.leftOutCount;
}

const about = (row: TrackedAttemptRow) => ({ experimentId: row.experimentId, sweepId: row.sweepId, jobId: row.jobId, attemptNumber: row.attemptNumber });

async function storePoints(transaction: Transaction, harvested: HarvestedAttempt[], dropped: DroppedOfJob[]): Promise<NewEvent[]> {
  const read = harvested.flatMap(({ row, harvest }) => {
    const byReader = (harvest.metrics?.byReader ?? []).filter(({ series }) => series.length > 0);
    return byReader.length === 0 ? [] : [{ row, byReader }];
  });
  const granted = await claimKeys(transaction, read.map(({ row: { jobId }, byReader }) => ({
    jobId, claims: byReader.map(({ reader, series }) => ({ reader, keys: [...new Set(series.map(({ key }) => key))] })),
  })));
  const written = await writePoints(transaction, read.map(({ row: { jobId, attemptNumber }, byReader }, job) => ({
    jobId, attemptNumber, series: byReader.flatMap(({ series }, reader) => series.filter(({ key }) => granted[job]?.granted[reader]?.has(key))),
  })));
  return read.flatMap(({ row }, job) => {
    const refusedCount = granted[job]?.refusedCount ?? 0;
    if (refusedCount > 0) dropped.push({ jobId: row.jobId, reason: OVER_SERIES_LIMIT_REASON, count: refusedCount });
    const series = written[job]?.series ?? [];
    return series.length === 0 ? [] : [{ ...about(row), kind: 'METRICS_APPENDED' as const, payload: { series } }];
  });
}

function noteEvents({ row, harvest }: HarvestedAttempt): NewEvent[] {
  return (harvest.notes?.items ?? []).map((note) => ({ ...about(row), kind: 'NOTE', payload: { note } }));
}

function droppedOf({ row: { jobId }, harvest: { metrics, notes, checkpointLines } }: HarvestedAttempt): DroppedOfJob[] {
  return [...metrics?.dropped ?? [], ...notes?.dropped ?? [], ...checkpointLines?.dropped ?? []].map((dropped) => ({ jobId, ...dropped }));
}

/** Each reason of each job once. */
function merged(dropped: DroppedOfJob[]): DroppedOfJob[] {
  const byReason = new Map<string, DroppedOfJob>();
  for (const item of dropped) {
    const key = `${item.jobId} ${item.reason}`;
    const known = byReason.get(key);
    if (known === undefined) byReason.set(key, { ...item });
    else known.count += item.count;
  }
  return [...byReason.values()];
}

function changesOf({ row: { jobDirectory }, harvest, state }: HarvestedAttempt, now: Date) {
  return checkpointChanges(harvest.checkpoints, { jobDirectory, now, jobEnded: isTerminalAttemptState(state), truncated: harvest.leftOutCount > 0 || harvest.isUnreadable });
}

async function storeCheckpoints(transaction: Transaction, harvested: HarvestedAttempt[], now: Date): Promise<NewEvent[]> {
  const changed = harvested.flatMap((item) => changesOf(item, now).map(({ relativePath: _, ...change }) => (
    { row: item.row, record: { ...change, jobId: item.row.jobId, attemptNumber: item.row.attemptNumber } })));
  const ids = await upsertCheckpoints(transaction, changed.map(({ record }) => record));
  return changed.flatMap(({ row, record }, index): NewEvent[] => {
    const checkpointId = ids[index] ?? null;
    return checkpointId === null ? [] : [{ ...about(row), kind: 'CHECKPOINT_CHANGED', payload: { checkpointId, path: record.path, state: record.state } }];
  });
}

/** What the trainer says in result.json: `{"metrics": {...}, "artifacts": {name: path}}`; anything else in it is left alone. */
function resultOf({ row, harvest }: HarvestedAttempt): NewResult {
  const reported = parseReport(harvest.resultText);
  const directory = artifactsDirectory(row.jobDirectory);
  const found: ArtifactRow[] = harvest.entries.filter((entry) => entry.kind === 'file' && entry.path.startsWith(`${directory}/`))
    .map((entry) => ({ name: entry.path.slice(directory.length + 1), path: entry.path, sizeBytes: entry.sizeBytes }));
  const named = Object.entries(reported.artifacts).flatMap(([name, path]): ArtifactRow[] => {
    if (typeof path !== 'string') return [];
    const absolute = path.startsWith('/') ? path : `${row.jobDirectory}/${path}`;
    return [{ name, path: absolute, sizeBytes: harvest.entries.find((entry) => entry.path === absolute)?.sizeBytes ?? null }];
  });
  return { jobId: row.jobId, reportedMetrics: reported.metrics, artifacts: [...named, ...found] };
}

function parseReport(text: string | null): { metrics: JsonObject; artifacts: JsonObject } {
  const object = (value: unknown): JsonObject => (isJsonObject(value) ? value : {});
  const report = parseStorableObject(text ?? '{}') ?? {};
  return { metrics: object(report['metrics']), artifacts: object(report['artifacts']) };
}
