/** Jobs that have ended and have checkpoints: people may remove those, or unpack them, at any time. */
import { and, asc, eq, gt, inArray, isNotNull, sql } from 'drizzle-orm';
import type { Reader } from '../database.ts';
import { checkpoints, jobs } from '../tables/index.ts';

export interface EndedJob {
  jobId: string;
  experimentId: string;
  sweepId: string | null;
  jobDirectory: string;
  /** Of the newest attempt. */
  attemptNumber: number;
}

/** Those of a cluster whose files were read to the end, by id, after `afterId`, at most `limit`. */
export async function readEndedJobs(reader: Reader, cluster: string, { afterId, limit }: { afterId: string | null; limit: number }): Promise<EndedJob[]> {
  return reader.select({ jobId: jobs.id, experimentId: jobs.experimentId, sweepId: jobs.sweepId, jobDirectory: jobs.storagePath, attemptNumber: jobs.attemptCount }).from(jobs)
    .where(and(
      eq(jobs.cluster, cluster), inArray(jobs.state, ['COMPLETED', 'FAILED', 'CANCELLED']), isNotNull(jobs.harvestedAt), afterId === null ? undefined : gt(jobs.id, afterId),
      sql`exists (select 1 from ${checkpoints} where ${checkpoints.jobId} = ${jobs.id})`))
    .orderBy(asc(jobs.id)).limit(limit);
}
