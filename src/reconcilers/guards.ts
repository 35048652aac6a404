/**
 * An attempt follows the execution that holds its start guard. Where that is another than the one we know (a doubled submission, or one
 * that was given up and came late after all), the attempt takes its id; what the cluster says of the other is no news of the attempt.
 */
import type { Logger } from 'pino';
import type { Cluster } from '../cluster/executor.ts';
import type { Database } from '../db/database.ts';
import { readBatchTasks, type BatchTask } from '../db/read/batch-tasks.ts';
import { readNewestAttempts } from '../db/read/tracked-attempts.ts';
import { transact } from '../db/transaction.ts';
import { appendEvents } from '../db/write/events.ts';
import { adoptExecutions, noteSecondExecutions, type Adoption, type SecondExecution } from '../db/write/second-executions.ts';
import { attemptLogPaths, refusedIn } from '../domain/layout.ts';
import type { Harvest, HarvestTarget } from './harvest.ts';

export interface GuardDependencies {
  database: Database;
  cluster: Cluster;
  logger: Logger;
}

const REFUSED = 'it was a second execution of the attempt, found it started, and ran nothing';

/** Answers the same targets, with those that have another id now as they are now. */
export async function followGuards(dependencies: GuardDependencies, targets: HarvestTarget[], harvests: ReadonlyMap<string, Harvest>): Promise<HarvestTarget[]> {
  const { database, cluster, logger } = dependencies;
  const overtaken = targets.flatMap((target) => {
    const id = harvests.get(target.jobId)?.start?.owner.slurmJobId ?? null;
    return id === null || target.slurmJobId === null || id === target.slurmJobId ? [] : [{ target, id, token: harvests.get(target.jobId)?.start?.owner.token ?? target.token }];
  });
  const refused = refusals(targets, harvests);
  if (overtaken.length === 0 && refused.length === 0) return targets;
  const tasks = overtaken.length === 0 ? [] : await readBatchTasks(database, cluster.settings.name, [...new Set(overtaken.map(({ token }) => token))]);
  const adoptions = overtaken.flatMap(({ target, id, token }): Adoption[] => {
    const task = tasks.find((one) => one.token === token && one.jobId === target.jobId);
    const was = { state: target.state, slurmJobId: target.slurmJobId };
    return task === undefined ? [] : [adoptionOf(cluster, task, id, target.attemptNumber, was, `it is executed by ${id}, which took its start guard`)];
  });
  const seconds: SecondExecution[] = overtaken.map(({ target, id }) => ({
    jobId: target.jobId, attemptNumber: target.attemptNumber, slurmJobId: target.slurmJobId ?? '', reason: `the attempt is executed by ${id}, so it does not run`,
  }));
  const events = await transact(database, async (transaction) => {
    const made = [...await adoptExecutions(transaction, adoptions), ...await noteSecondExecutions(transaction, [...seconds, ...refused])];
    await appendEvents(transaction, made);
    return made;
  });
  for (const { kind, jobId, attemptNumber, payload } of events) if (kind === 'SECOND_EXECUTION') logger.warn({ job: jobId, attempt: attemptNumber, ...payload }, 'a second execution');
  if (adoptions.length === 0) return targets;
  const rows = new Map((await readNewestAttempts(database, cluster.settings.name, adoptions.map(({ jobId }) => jobId))).map((row) => [row.jobId, row]));
  return targets.map((target) => {
    const row = rows.get(target.jobId);
    return row?.attemptNumber === target.attemptNumber ? { ...target, ...row } : target;
  });
}

/** What was refused the guard of an attempt leaves a record, of which the name tells enough. */
function refusals(targets: HarvestTarget[], harvests: ReadonlyMap<string, Harvest>): SecondExecution[] {
  return targets.filter(({ ended }) => ended).flatMap(({ jobId, jobDirectory, attemptNumber, slurmJobId }) => (harvests.get(jobId)?.entries ?? []).flatMap(({ path }) => {
    const id = refusedIn(jobDirectory, attemptNumber, path);
    return id === null || id === slurmJobId ? [] : [{ jobId, attemptNumber, slurmJobId: id, reason: REFUSED }];
  }));
}

export function adoptionOf({ settings }: Cluster, task: BatchTask, slurmJobId: string, attemptNumber: number, was: Adoption['was'], reason: string): Adoption {
  const { stdout, stderr } = attemptLogPaths(settings.rootDirectory, task.token, slurmJobId, task.taskIndex);
  return {
    jobId: task.jobId, attemptNumber, batchId: task.batchId, taskIndex: task.taskIndex, restart: attemptNumber - task.firstAttempt, slurmJobId,
    stdoutPath: stdout, stderrPath: stderr, was, reason,
  };
}
