/** Reads of what finished jobs yielded. */
import { and, sql } from 'drizzle-orm';
import type { JobFilter, TimeRange } from '../../domain/job-filter.ts';
import type { ResultOrder } from '../../domain/job-order.ts';
import type { Reader } from '../database.ts';
import { jobs, results } from '../tables/index.ts';
import { jobFilterCondition, timeConditions, uuidIn } from './job-filter.ts';
import { jobOrderTerm } from './jobs.ts';
import type { OrderTerm, PageSource } from './page.ts';
import { inOrderOf } from './rows.ts';

export type ResultRow = typeof results.$inferSelect;

/** Which results are meant; all given conditions must hold. */
export interface ResultFilter {
  jobs: JobFilter;
  finishedAt?: TimeRange;
}

/** The result of each job, in the order asked for, null where there is none. */
export async function resultsOfJobs(reader: Reader, jobIds: readonly string[]): Promise<(ResultRow | null)[]> {
  const rows = await reader.select().from(results).where(uuidIn(results.jobId, jobIds));
  return inOrderOf(jobIds, rows, (row) => row.jobId);
}

/** Results of the jobs that pass the filter, in the given order; earliest finished first where nothing is said. */
export function resultSource(filter: ResultFilter, order: readonly ResultOrder[]): PageSource<typeof results> {
  const terms = order.length === 0 ? [finishedAt(false)] : order.map(resultOrderTerm);
  const descending = terms.at(-1)?.descending ?? false;
  return {
    table: results,
    from: sql`${results} join ${jobs} on ${jobs.id} = ${results.jobId}`,
    where: and(jobFilterCondition(filter.jobs), ...timeConditions(results.finishedAt, filter.finishedAt)),
    order: [...terms, { expression: results.jobId, type: 'uuid', descending, nullable: false, name: 'jobId' }],
  };
}

function resultOrderTerm(order: ResultOrder): OrderTerm {
  if (order.field === 'FINISHED_AT') return finishedAt(order.descending);
  if (order.field !== 'RESULT_METRIC') return jobOrderTerm(order);
  return {
    expression: sql`(${results.metrics} -> ${order.key}::text)`, type: 'jsonb',
    descending: order.descending, nullable: true, name: `result:${order.key}`,
  };
}

function finishedAt(descending: boolean): OrderTerm {
  return { expression: results.finishedAt, type: 'timestamptz', descending, nullable: false, name: 'finishedAt' };
}
