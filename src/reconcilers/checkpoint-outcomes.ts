/** Commits what runs over checkpoints begin with and what they have told. */
import type { Database, Transaction } from '../db/database.ts';
import type { OpenItem } from '../db/read/checkpoint-requests.ts';
import { transact } from '../db/transaction.ts';
import {
  lockJobsUnlessActive, markItemDone, markItemFailed, markItemPending, markItemRunning, recordCheckpointRun, recordOutcome, requestEvent, type CheckpointOutcome,
} from '../db/write/checkpoint-requests.ts';
import { recordSeenContent } from '../db/write/checkpoints.ts';
import { appendEvents } from '../db/write/events.ts';
import type { CheckpointState } from '../domain/checkpoint-scan.ts';
import type { ItemReport, RunReport } from '../domain/checkpoint-requests/program.ts';
import { MAX_TRIES, MAX_TRIES_TO_TIDY } from '../domain/checkpoint-requests/request.ts';
import type { NewEvent } from '../domain/events.ts';
import type { PlannedItem } from './checkpoint-plan.ts';

/** An item that a run has begun with. */
export type ClaimedItem = Extract<PlannedItem, { members: string[] }> & {
  /** It was tried often enough: what was left half done is put in order, and then it has failed for this reason. */
  giveUpReason: string | null;
};

/** A SLURM job that is to have them. */
export interface NewRun {
  id: string;
  cluster: string;
  token: string;
}

/** Decides, under a lock on the jobs, with which of the items a run may begin; the others have failed. A job that was queued again keeps what it has. */
export async function claimItems(database: Database, planned: PlannedItem[], run: NewRun | null): Promise<ClaimedItem[]> {
  return transact(database, async (transaction) => {
    const active = await lockJobsUnlessActive(transaction, [...new Set(planned.map(({ item }) => item.jobId))]);
    const claimed: ClaimedItem[] = [];
    const events: NewEvent[] = [];
    for (const each of planned) {
      const problem = claimProblem(each, active);
      if (problem === null && 'members' in each) {
        // Somebody may have withdrawn it while the disk was looked at.
        if (!await markItemRunning(transaction, each.item, { ...each, runId: run?.id ?? null })) continue;
        claimed.push({ ...each, giveUpReason: each.item.tries >= MAX_TRIES ? tiredWords(each.item) : null });
        events.push(requestEvent(each.item, 'RUNNING', null));
      } else {
        // A job that runs again may be writing it.
        const isSeen = 'problem' in each && each.seen !== undefined && !isActiveAgain(each.item, active) && await recordSeenContent(transaction, each.item, each.seen);
        if (isSeen) events.push(checkpointEvent(each.item, 'COMPLETE'));
        const failed = await failItem(transaction, each.item, problem ?? '');
        if (failed.length > 0 && 'isGone' in each && !active.has(each.item.jobId)) events.push(await changeCheckpoint(transaction, each.item, { kind: 'GONE' }));
        events.push(...failed);
      }
    }
    if (run !== null && claimed.length > 0) await recordCheckpointRun(transaction, run);
    await appendEvents(transaction, events);
    return claimed;
  });
}

function claimProblem(planned: PlannedItem, active: ReadonlyMap<string, Date | null>): string | null {
  const { item } = planned;
  // What was begun is finished: half of it may be done.
  const removes = item.action === 'ARCHIVE' || item.action === 'DELETE';
  if (item.tries === 0 && removes && isActiveAgain(item, active)) return 'its job was queued again before it was its turn';
  if (item.tries > MAX_TRIES_TO_TIDY) return `${tiredWords(item)}; what is half done could not be put in order: ask again, and that is tried again`;
  return 'problem' in planned ? planned.problem : null;
}

/** Of a job that was LOST when somebody asked, that was asked for. */
function isActiveAgain({ jobId, requestedAt }: OpenItem, active: ReadonlyMap<string, Date | null>): boolean {
  const lostAt = active.get(jobId) ?? null;
  return active.has(jobId) && (lostAt === null || lostAt > requestedAt);
}

function tiredWords({ problem }: OpenItem): string {
  return `it was given up: ${problem ?? `each of the ${MAX_TRIES} times that it was begun with, the run broke off`}`;
}

/** It was so before this run: why is not to be forgotten. */
function isGivenUp({ tries, runId }: OpenItem): boolean {
  return tries >= MAX_TRIES && runId === null;
}

/** Stores what a run has told of its items. Answers those of which it has told nothing. */
export async function commitReport(database: Database, items: OpenItem[], report: RunReport): Promise<OpenItem[]> {
  const told = items.flatMap((item) => {
    const of = report.items.get(item.checkpointId);
    return of === undefined ? [] : [{ item, of }];
  });
  if (told.length > 0) {
    await transact(database, async (transaction) => {
      const events: NewEvent[] = [];
      for (const { item, of } of told) events.push(...await storeReport(transaction, item, of));
      await appendEvents(transaction, events);
    });
  }
  return items.filter((item) => !report.items.has(item.checkpointId));
}

/** A run is over that has told nothing of these: those that it began with broke off, the others wait for the next. */
export async function giveBackItems(database: Database, items: OpenItem[], { begun, busy }: RunReport, problem: string): Promise<void> {
  if (items.length === 0) return;
  await transact(database, async (transaction) => {
    for (const item of items) {
      const isBegun = begun.includes(item.checkpointId);
      const waits = busy.includes(item.checkpointId) ? 'another run is at work in its folder' : item.runId === null ? item.problem : 'the SLURM job ended before it was its turn';
      await markItemPending(transaction, item, { problem: isGivenUp(item) ? item.problem : isBegun ? problem : waits, counts: isBegun });
    }
  });
}

/** Trying these again would not help: the next run puts in order what is half done, and gives them up for this reason. `wasBegun`: by the run that just ended, perhaps. */
export async function giveUpItems(database: Database, items: OpenItem[], problem: string, { wasBegun }: { wasBegun: boolean }): Promise<void> {
  if (items.length === 0) return;
  await transact(database, async (transaction) => {
    const events: NewEvent[] = [];
    for (const item of items) {
      // No run ever had it, so nothing is half done.
      if (!wasBegun && item.members === null) events.push(...await failItem(transaction, item, problem));
      else await markItemPending(transaction, item, { problem: isGivenUp(item) ? item.problem : problem, counts: 'LAST_TRY' });
    }
    await appendEvents(transaction, events);
  });
}

async function storeReport(transaction: Transaction, item: OpenItem, report: ItemReport): Promise<NewEvent[]> {
  const { checkpoint: { path, sizeBytes, archiveBytes } } = item;
  switch (report.kind) {
    case 'FAILED': return failItem(transaction, item, report.problem);
    case 'GONE': {
      const failed = await failItem(transaction, item, 'it is not on disk any more');
      return failed.length === 0 ? [] : [await changeCheckpoint(transaction, item, { kind: 'GONE' }), ...failed];
    }
    case 'ARCHIVED': {
      const outcome = { kind: 'ARCHIVED' as const, archivePath: path + report.suffix, archiveBytes: report.bytes, sha256: report.sha256 };
      return finishItem(transaction, item, outcome, sizeBytes - report.bytes);
    }
    case 'DELETED': return finishItem(transaction, item, { kind: 'DELETED' }, report.freedBytes ?? archiveBytes ?? sizeBytes);
    case 'RESTORED': return finishItem(transaction, item, report, (archiveBytes ?? 0) - sizeBytes);
    case 'DIGEST': return finishItem(transaction, item, report, 0);
  }
}

const STATES = { ARCHIVED: 'ARCHIVED', DELETED: 'DELETED', GONE: 'DELETED', RESTORED: 'COMPLETE', DIGEST: 'COMPLETE' } as const;

async function changeCheckpoint(transaction: Transaction, item: OpenItem, outcome: CheckpointOutcome): Promise<NewEvent> {
  await recordOutcome(transaction, { jobId: item.jobId, path: item.checkpoint.path }, outcome);
  return checkpointEvent(item, STATES[outcome.kind]);
}

function checkpointEvent({ experimentId, sweepId, jobId, checkpoint: { id, path, attemptNumber } }: OpenItem, state: CheckpointState): NewEvent {
  return { kind: 'CHECKPOINT_CHANGED', experimentId, sweepId, jobId, attemptNumber, payload: { checkpointId: id, path, state } };
}

/** No events, and nothing is changed, where the item is not open any more: what came after it may have changed the checkpoint again. */
async function finishItem(transaction: Transaction, item: OpenItem, outcome: CheckpointOutcome, freedBytes: number): Promise<NewEvent[]> {
  if (!await markItemDone(transaction, item, freedBytes)) return [];
  return [await changeCheckpoint(transaction, item, outcome), requestEvent(item, 'DONE', null)];
}

async function failItem(transaction: Transaction, item: OpenItem, problem: string): Promise<NewEvent[]> {
  return await markItemFailed(transaction, item, problem) ? [requestEvent(item, 'FAILED', problem)] : [];
}
