import { allClusters } from '../db/read/clusters.ts';
import { missingTargets } from '../db/read/filter-targets.ts';
import type { UserFault } from '../domain/errors.ts';
import type { JobFilter } from '../domain/job-filter.ts';
import type { ActionContext } from './action-context.ts';
import { badInput } from './input-faults.ts';

/** So many unknown ids are named. */
const MAX_NAMED = 20;

/** Projects, clusters, experiments and sweeps that the filter names and that do not exist. */
export async function unknownTargets({ database, clusters }: Pick<ActionContext, 'database' | 'clusters'>, filter: JobFilter): Promise<UserFault[]> {
  const missing = await missingTargets(database, filter);
  const notFound = (name: string, message: string): UserFault => ({ ...badInput(['filter', name], message), code: 'NOT_FOUND' });
  return [
    ...(missing.project ? [notFound('project', `there is no project "${filter.project}"`)] : []),
    ...missing.experimentIds.slice(0, MAX_NAMED).map((id) => notFound('experimentIds', `there is no experiment ${id}`)),
    ...missing.sweepIds.slice(0, MAX_NAMED).map((id) => notFound('sweepIds', `there is no sweep ${id}`)),
    ...await unknownClusters(),
  ];

  async function unknownClusters(): Promise<UserFault[]> {
    if (filter.clusters === undefined || filter.clusters.every((name) => clusters.has(name))) return [];
    // One that is not configured any more may still have jobs.
    const known = (await allClusters(database, clusters)).map(({ name }) => name);
    return filter.clusters.filter((name) => !known.includes(name)).slice(0, MAX_NAMED)
      .map((name) => notFound('clusters', `there is no cluster "${name}"; there are ${known.join(', ')}`));
  }
}
