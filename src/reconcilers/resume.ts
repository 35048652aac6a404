/**
 * A requeued job runs the script of its first run again, which names the checkpoint that there was then. So before it starts again the last
 * complete one is noted beside its guard, where the script looks first. Comes the note too late, the run goes on from the older one.
 */
import type { Logger } from 'pino';
import type { Cluster } from '../cluster/executor.ts';
import { FileError, TransportError } from '../cluster/transport.ts';
import type { Database } from '../db/database.ts';
import { checkpointsToResume } from '../db/read/checkpoints.ts';
import type { TrackedAttemptRow } from '../db/read/tracked-attempts.ts';
import { resumePath } from '../domain/layout.ts';
import { commitFindings } from './findings.ts';
import { gatherHarvest } from './harvest.ts';

export interface ResumeDependencies {
  database: Database;
  cluster: Cluster;
  logger: Logger;
  now: () => Date;
}

/**
 * @param ended the runs that are over, as they were known
 * @param waiting the runs that are to come, in the same order
 */
export async function noteCheckpoints({ database, cluster, logger, now }: ResumeDependencies, ended: TrackedAttemptRow[], waiting: TrackedAttemptRow[]): Promise<void> {
  if (waiting.length === 0) return;
  try {
    // What the run wrote last is whole or partial now: nobody writes it any more.
    const targets = ended.map((row) => ({ ...row, state: 'CANCELLED' as const, ended: true, closing: false, withLogs: true }));
    const harvests = await gatherHarvest({ database, cluster, files: cluster.transport, now: now() }, targets);
    await commitFindings({ database, now: now() }, targets, harvests, new Map());
    const paths = await checkpointsToResume(database, waiting.map(({ jobId }) => jobId));
    await Promise.all(waiting.map(async ({ jobId, jobDirectory, attemptNumber }) => {
      const path = paths.get(jobId);
      if (path !== undefined) await cluster.transport.put(resumePath(jobDirectory, attemptNumber), Buffer.from(path));
    }));
  } catch (error) {
    if (!(error instanceof FileError || error instanceof TransportError)) throw error;
    logger.warn({ err: error, jobs: waiting.map(({ jobId }) => jobId) }, 'requeued jobs could not be told their last checkpoint');
  }
}
