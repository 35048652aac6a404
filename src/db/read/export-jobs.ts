/** Which jobs an export is about. They are chosen once, when it begins: jobs that come later, or change, do not change it half way. */
import { and, eq, sql, type SQL } from 'drizzle-orm';
import type { JobFilter } from '../../domain/job-filter.ts';
import type { Reader } from '../database.ts';
import { jobs, results } from '../tables/index.ts';
import { jobFilterCondition } from './job-filter.ts';

export interface ExportScope {
  parent: 'EXPERIMENT' | 'SWEEP' | 'JOB';
  /** A UUID. */
  id: string;
  filter: JobFilter;
}

const UUID_BYTES = 16;

/** Ids of jobs in ascending order, 16 bytes each: an experiment may have a million. */
export class JobIds {
  readonly #bytes: Buffer;
  readonly length: number;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.length = bytes.length / UUID_BYTES;
  }

  /** The ids from `start` on, `count` at the most. */
  slice(start: number, count: number): string[] {
    const ids: string[] = [];
    for (let index = start; index < Math.min(this.length, start + count); index += 1) {
      const hex = this.#bytes.toString('hex', index * UUID_BYTES, (index + 1) * UUID_BYTES);
      ids.push(`${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`);
    }
    return ids;
  }

  /** The ids after `id`, with `id` itself where wanted. */
  from(id: string, including: boolean): JobIds {
    const sought = Buffer.from(id.replaceAll('-', ''), 'hex');
    let [low, high] = [0, this.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = this.#bytes.compare(sought, 0, UUID_BYTES, middle * UUID_BYTES, (middle + 1) * UUID_BYTES);
      if (order < 0 || (order === 0 && !including)) low = middle + 1;
      else high = middle;
    }
    return new JobIds(this.#bytes.subarray(low * UUID_BYTES));
  }
}

/** The jobs of the scope that pass its filter; only those that yielded a result where that is wanted. */
export async function jobsToExport(reader: Reader, scope: ExportScope, onlyWithResult: boolean): Promise<JobIds> {
  const { rows: [row] } = await reader.execute<{ ids: Buffer | null }>(sql`
    select string_agg(uuid_send(id), ''::bytea) as ids from (
      select ${jobs.id} as id from ${jobs} ${onlyWithResult ? sql`join ${results} on ${results.jobId} = ${jobs.id}` : sql``}
      where ${inScope(scope)} order by ${jobs.id}
    ) as chosen`);
  return new JobIds(row?.ids ?? Buffer.alloc(0));
}

/** The condition that holds for the jobs of the scope, in a statement that has `jobs` unaliased in its FROM. */
export function inScope({ parent, id, filter }: ExportScope): SQL {
  const column = { EXPERIMENT: jobs.experimentId, SWEEP: jobs.sweepId, JOB: jobs.id }[parent];
  return and(eq(column, id), jobFilterCondition(filter)) ?? sql`true`;
}
