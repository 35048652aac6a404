/** Lists below many parents: one statement for all parents that are asked for the same. */
import type { JobFilter } from '../../domain/job-filter.ts';
import type { JobOrder } from '../../domain/job-order.ts';
import type { Reader } from '../database.ts';
import { jobs, sweeps } from '../tables/index.ts';
import { sweepSource, type SweepRow } from './experiments.ts';
import { jobSource, type JobRow } from './jobs.ts';
import { countRowsPerParent, readPagePerParent, type Page, type PageRequest } from './page.ts';

/** Which jobs of a parent are wanted, and in which order. */
export interface NestedJobs {
  parent: 'EXPERIMENT' | 'SWEEP';
  filter: JobFilter;
  order: JobOrder[];
}

/** A page of the jobs of each parent, in the order asked for. */
export function jobPagesOf(reader: Reader, wanted: NestedJobs, request: PageRequest, parentIds: readonly string[]): Promise<Page<JobRow>[]> {
  return readPagePerParent(reader, jobSource(wanted.filter, wanted.order), request, parentColumn(wanted), parentIds);
}

/** How many such jobs each parent has. */
export function jobCountsOf(reader: Reader, wanted: NestedJobs, parentIds: readonly string[]): Promise<number[]> {
  return countRowsPerParent(reader, jobSource(wanted.filter, []), parentColumn(wanted), parentIds);
}

/** A page of the sweeps of each experiment, in the order asked for. */
export function sweepPagesOf(reader: Reader, request: PageRequest, experimentIds: readonly string[]): Promise<Page<SweepRow>[]> {
  return readPagePerParent(reader, sweepSource(), request, sweeps.experimentId, experimentIds);
}

/** How many sweeps each experiment has. */
export function sweepCountsOf(reader: Reader, experimentIds: readonly string[]): Promise<number[]> {
  return countRowsPerParent(reader, sweepSource(), sweeps.experimentId, experimentIds);
}

function parentColumn(wanted: NestedJobs) {
  return wanted.parent === 'EXPERIMENT' ? jobs.experimentId : jobs.sweepId;
}
