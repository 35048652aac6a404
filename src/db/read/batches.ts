/** Reads of the record of submissions. Scripts are read apart from the rest: each may hold a thousand configurations. */
import { and, sql } from 'drizzle-orm';
import type { TimeRange } from '../../domain/job-filter.ts';
import type { Reader } from '../database.ts';
import { attempts, batches, jobs, type BatchState } from '../tables/index.ts';
import { textIn, timeConditions, uuidIn } from './job-filter.ts';
import type { PageSource } from './page.ts';
import { groupedBy, inOrderOf } from './rows.ts';

/** A submission without what is read apart. */
export type BatchRow = Omit<typeof batches.$inferSelect, 'script' | 'formerTasks'>;

/** Which submissions are meant; all given conditions must hold. */
export interface BatchFilter {
  ids?: string[];
  clusters?: string[];
  states?: BatchState[];
  slurmJobId?: string;
  token?: string;
  /** Batches that carried one of these jobs. */
  jobIds?: string[];
  submittedAt?: TimeRange;
}

/** Submissions, newest first, without their scripts. */
export function batchSource(filter: BatchFilter): PageSource<typeof batches> {
  return {
    table: batches,
    omit: ['script', 'formerTasks'],
    where: and(
      uuidIn(batches.id, filter.ids),
      textIn(batches.cluster, filter.clusters),
      textIn(batches.state, filter.states),
      filter.slurmJobId === undefined ? undefined : sql`${batches.slurmJobId} = ${filter.slurmJobId}`,
      filter.token === undefined ? undefined : sql`${batches.token} = ${filter.token}`,
      filter.jobIds === undefined ? undefined
        : sql`${batches.id} in (select ${attempts.batchId} from ${attempts} where ${uuidIn(attempts.jobId, filter.jobIds)})`,
      ...timeConditions(batches.submittedAt, filter.submittedAt),
    ),
    order: [
      { expression: batches.submittedAt, type: 'timestamptz', descending: true, nullable: false, name: 'submittedAt' },
      { expression: batches.id, type: 'uuid', descending: true, nullable: false, name: 'id' },
    ],
  };
}

/** The scripts of batches by id, in the order asked for, null where there is none. */
export async function scriptsOfBatches(reader: Reader, ids: readonly string[]): Promise<(string | null)[]> {
  const rows = await reader.select({ id: batches.id, script: batches.script }).from(batches).where(uuidIn(batches.id, ids));
  return inOrderOf(ids, rows, (row) => row.id).map((row) => row?.script ?? null);
}

/** The names of the tokens whose jobs each batch carried. */
export async function submittersOfBatches(reader: Reader, ids: readonly string[]): Promise<string[][]> {
  const rows = await reader.selectDistinct({ batchId: attempts.batchId, submittedBy: jobs.submittedBy }).from(attempts)
    .innerJoin(jobs, sql`${jobs.id} = ${attempts.jobId}`).where(uuidIn(attempts.batchId, ids)).orderBy(jobs.submittedBy);
  return groupedBy(ids, rows, (row) => row.batchId).map((group) => group.map((row) => row.submittedBy));
}
