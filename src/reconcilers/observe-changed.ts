/** Cluster to database, as a push: looks at the files of the few jobs that are said to have changed. The scheduler is not asked. */
import type { Logger } from 'pino';
import type { ChangeKind } from '../cluster/watch/program.ts';
import { readNewestAttempts } from '../db/read/tracked-attempts.ts';
import { decideAttemptChange, type AttemptChange } from '../domain/attempt-change.ts';
import { isTerminalAttemptState } from '../domain/states.ts';
import { commitFindings } from './findings.ts';
import { followGuards } from './guards.ts';
import { gatherHarvest, type HarvestDependencies } from './harvest.ts';
import { ownStart } from './harvest-start.ts';
import type { ListRests } from './list-rests.ts';

export interface ChangedOutcome {
  /** Jobs of which there is more to read. */
  unfinished: string[];
  /** Jobs that ended in a way that only the scheduler can name. */
  ending: string[];
}

/**
 * @param changes what may have changed, by job
 * @param withAllLogs whether to look at the logs also of jobs that have not ended
 */
export async function observeChanged(
  { database, cluster, files, rests, logger, now }: Omit<HarvestDependencies, 'now'> & { rests: ListRests; logger: Logger; now: () => Date }, changes: ReadonlyMap<string, ReadonlySet<ChangeKind>>,
  { withAllLogs }: { withAllLogs: boolean },
): Promise<ChangedOutcome> {
  const rows = await readNewestAttempts(database, cluster.settings.name, [...changes.keys()]);
  // What still waits for the answer to its submission has no id yet to compare the start guard's owner with.
  const read = rows.filter((row) => row.state !== 'SUBMITTING').map((row) => {
    const hasExited = changes.get(row.jobId)?.has('exit') === true;
    return { ...row, ended: hasExited || isTerminalAttemptState(row.state), closing: false, withLogs: hasExited || withAllLogs };
  }).filter((row) => row.ended || !rests.isResting(row.jobId, now()));
  const harvests = await gatherHarvest({ database, cluster, files, now: now() }, read);
  for (const [jobId, { listMs, hasMore }] of harvests) rests.note(jobId, hasMore ? null : listMs, now());
  const targets = await followGuards({ database, cluster, logger }, read, harvests);
  const verdicts = new Map<string, AttemptChange>();
  const ending: string[] = [];
  for (const row of targets) {
    const harvest = harvests.get(row.jobId);
    if (harvest === undefined || isTerminalAttemptState(row.state)) continue;
    const change = decideAttemptChange(row, null, harvest.exitRecord, null, ownStart(row, harvest.start));
    if (change !== null) verdicts.set(row.jobId, change);
    if (harvest.exitRecord !== null && (change === null || !isTerminalAttemptState(change.state))) ending.push(row.jobId);
  }
  await commitFindings({ database, now: now() }, targets, harvests, verdicts);
  return { unfinished: targets.flatMap(({ jobId }) => (harvests.get(jobId)?.hasMore === true ? [jobId] : [])), ending };
}
