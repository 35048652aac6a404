/** Reads of jobs. */
import { sql } from 'drizzle-orm';
import type { JobFilter } from '../../domain/job-filter.ts';
import { DEFAULT_JOB_ORDER, type JobOrder } from '../../domain/job-order.ts';
import { JOB_STATES } from '../../domain/states.ts';
import type { Reader } from '../database.ts';
import { attempts, jobs, metricSeries } from '../tables/index.ts';
import { configValue, jobFilterCondition, summaryColumn, uuidIn } from './job-filter.ts';
import type { OrderTerm, PageSource } from './page.ts';
import { groupedBy, inOrderOf } from './rows.ts';

export type JobRow = typeof jobs.$inferSelect;

/** Jobs by id, in the order asked for, null where there is none. */
export async function jobsById(reader: Reader, ids: readonly string[]): Promise<(JobRow | null)[]> {
  const rows = await reader.select().from(jobs).where(uuidIn(jobs.id, ids));
  return inOrderOf(ids, rows, (row) => row.id);
}

/** The jobs made from each job by changing its configuration, oldest first. */
export async function retriesOfJobs(reader: Reader, jobIds: readonly string[]): Promise<JobRow[][]> {
  const rows = await reader.select().from(jobs).where(uuidIn(jobs.retryOf, jobIds)).orderBy(jobs.createdAt, jobs.id);
  return groupedBy(jobIds, rows, (row) => row.retryOf ?? '');
}

/** The ids of the jobs that each batch carried, in task order. */
export async function jobIdsOfBatches(reader: Reader, batchIds: readonly string[]): Promise<string[][]> {
  const rows = await reader.select({ batchId: attempts.batchId, jobId: attempts.jobId }).from(attempts)
    .where(uuidIn(attempts.batchId, batchIds)).orderBy(attempts.taskIndex, attempts.number);
  return groupedBy(batchIds, rows, (row) => row.batchId).map((group) => [...new Set(group.map((row) => row.jobId))]);
}

/** Jobs that pass the filter, in the given order; oldest first where it leaves a tie. */
export function jobSource(filter: JobFilter, order: readonly JobOrder[]): PageSource<typeof jobs> {
  const terms = (order.length === 0 ? DEFAULT_JOB_ORDER : order).map(jobOrderTerm);
  // The tie-breaker runs the same way as the last term, so that one index serves both.
  const descending = terms.at(-1)?.descending ?? false;
  return {
    table: jobs,
    where: jobFilterCondition(filter),
    order: [...terms, { expression: jobs.id, type: 'uuid', descending, nullable: false, name: 'id' }],
  };
}

/** The sort key of one order over an unaliased `jobs`. */
export function jobOrderTerm(order: JobOrder): OrderTerm {
  const { descending } = order;
  switch (order.field) {
    case 'CREATED_AT': return { expression: jobs.createdAt, type: 'timestamptz', descending, nullable: false, name: 'createdAt' };
    case 'STARTED_AT': return { expression: jobs.startedAt, type: 'timestamptz', descending, nullable: true, name: 'startedAt' };
    case 'FINISHED_AT': return { expression: jobs.finishedAt, type: 'timestamptz', descending, nullable: true, name: 'finishedAt' };
    case 'PRIORITY': return { expression: jobs.priority, type: 'integer', descending, nullable: false, name: 'priority' };
    case 'NAME': return { expression: jobs.name, type: 'text', descending, nullable: false, name: 'name' };
    case 'STATE': return {
      expression: sql`array_position(${sql.param([...JOB_STATES])}::text[], ${jobs.state})`,
      type: 'integer', descending, nullable: false, name: 'state',
    };
    case 'CONFIG': return { expression: configValue(order.key), type: 'jsonb', descending, nullable: true, name: `config:${order.key}` };
    case 'METRIC': return {
      expression: sql`(select ${summaryColumn(order.at)} from ${metricSeries}
        where ${metricSeries.jobId} = ${jobs.id} and ${metricSeries.key} = ${order.key})`,
      type: 'double precision', descending, nullable: true, name: `metric:${order.at}:${order.key}`,
    };
  }
}
