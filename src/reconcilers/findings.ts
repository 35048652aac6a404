/**
 * Commits what a round found: the change of an attempt's state together with what its job wrote, so that a job is only ever seen
 * as finished with its last metrics, its checkpoints and its result in place.
 */
import type { Database } from '../db/database.ts';
import type { TrackedAttemptRow } from '../db/read/tracked-attempts.ts';
import { transact } from '../db/transaction.ts';
import { applyAttemptChanges, type ChangedAttempt } from '../db/write/attempts.ts';
import { appendEvents } from '../db/write/events.ts';
import { withdrawResults } from '../db/write/harvest.ts';
import type { AttemptChange } from '../domain/attempt-change.ts';
import { isTerminalAttemptState } from '../domain/states.ts';
import { crashPoint } from './crash-point.ts';
import type { Harvest, HarvestTarget } from './harvest.ts';
import { hasNews, storeHarvest, type HarvestedAttempt } from './harvest-store.ts';

/** Attempts whose facts are committed in one transaction: bounds how long the event log stays locked. */
const COMMIT_CHUNK = 100;

interface Finding {
  changed: ChangedAttempt | null;
  harvested: HarvestedAttempt | null;
}

/**
 * Answers how many jobs had news.
 * @param rows every attempt that was looked at; those that were harvested say whether this was the last look
 * @param verdicts the change of each attempt that changes, by job
 */
export async function commitFindings(
  { database, now }: { database: Database; now: Date }, rows: (TrackedAttemptRow | HarvestTarget)[],
  harvests: ReadonlyMap<string, Harvest>, verdicts: ReadonlyMap<string, AttemptChange>,
): Promise<number> {
  const findings = rows.map((row): Finding => {
    const harvest = harvests.get(row.jobId);
    const change = verdictOn(verdicts.get(row.jobId), harvest);
    const changed = change === null ? null : { ...row, from: row.state, change };
    const closing = 'closing' in row && row.closing && harvest?.hasMore === false;
    return { changed, harvested: harvest === undefined ? null : { row, harvest, state: change?.state ?? row.state, closing } };
  }).filter(({ changed, harvested }) => changed !== null || (harvested !== null && hasNews(harvested, now)));
  for (let start = 0; start < findings.length; start += COMMIT_CHUNK) {
    const chunk = findings.slice(start, start + COMMIT_CHUNK);
    const ends = chunk.some(({ changed }) => changed !== null && isTerminalAttemptState(changed.change.state));
    crashPoint('harvest-before-commit');
    if (ends) crashPoint('end-before-commit');
    await transact(database, async (transaction) => {
      const changes = chunk.flatMap(({ changed }) => changed ?? []);
      const moved = await applyAttemptChanges(transaction, changes);
      const withdrawn = await withdrawResults(transaction, changes.filter(({ from, change }) => from === 'COMPLETED' && change.state !== from).map(({ jobId }) => jobId));
      const stored = await storeHarvest(transaction, chunk.flatMap(({ harvested }) => harvested ?? []), now);
      await appendEvents(transaction, [...stored, ...moved, ...withdrawn]);
    });
    crashPoint('harvest-after-commit');
    if (ends) crashPoint('end-after-commit');
  }
  return findings.length;
}

/** The end is shown once everything that was written before it is in. */
function verdictOn(change: AttemptChange | undefined, harvest: Harvest | undefined): AttemptChange | null {
  return change === undefined || (isTerminalAttemptState(change.state) && harvest?.hasMore === true) ? null : change;
}
