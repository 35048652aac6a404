/** Every checkpoint of many jobs, in pages of bounded size, by job and path. */
import { and, asc, sql } from 'drizzle-orm';
import type { Reader } from '../database.ts';
import { checkpoints } from '../tables/index.ts';
import type { CheckpointRow } from './checkpoints.ts';
import type { JobIds } from './export-jobs.ts';
import { uuidIn } from './job-filter.ts';

const JOBS_PER_LOOK = 500;
const CHECKPOINTS_PER_PAGE = 2_000;

/** The checkpoints of the jobs that come after a position; null: all of them. */
export async function* checkpointPages(reader: Reader, jobIds: JobIds, after: { jobId: string; path: string } | null): AsyncGenerator<CheckpointRow[]> {
  const rest = after === null ? jobIds : jobIds.from(after.jobId, true);
  let last = after;
  for (let index = 0; index < rest.length; index += JOBS_PER_LOOK) {
    const ids = rest.slice(index, JOBS_PER_LOOK);
    for (let isWhole = false; !isWhole;) {
      const rows: CheckpointRow[] = await reader.select().from(checkpoints)
        .where(and(uuidIn(checkpoints.jobId, ids), last === null ? undefined : sql`(${checkpoints.jobId}, ${checkpoints.path}) > (${last.jobId}::uuid, ${last.path}::text)`))
        .orderBy(asc(checkpoints.jobId), asc(checkpoints.path)).limit(CHECKPOINTS_PER_PAGE);
      if (rows.length > 0) yield rows;
      last = rows.at(-1) ?? last;
      isWhole = rows.length < CHECKPOINTS_PER_PAGE;
    }
  }
}
