/** Whether what a filter names by its name or id is there at all: a slip of the pen selects nothing, as an empty experiment does. */
import { sql } from 'drizzle-orm';
import type { JobFilter } from '../../domain/job-filter.ts';
import type { Reader } from '../database.ts';
import { experiments, sweeps } from '../tables/index.ts';
import type { RawRow } from './rows.ts';
import { onlyUuids } from './uuid.ts';

export interface MissingTargets {
  project: boolean;
  /** As the filter writes them. */
  experimentIds: string[];
  sweepIds: string[];
}

/** What the filter names and is not there. */
export async function missingTargets(reader: Reader, filter: JobFilter): Promise<MissingTargets> {
  const experimentIds = filter.experimentIds ?? [];
  const sweepIds = filter.sweepIds ?? [];
  if (filter.project === undefined && experimentIds.length === 0 && sweepIds.length === 0) return { project: false, experimentIds: [], sweepIds: [] };
  const { rows: [found] } = await reader.execute<RawRow>(sql`select
    exists (select 1 from ${experiments} where ${experiments.project} = ${filter.project ?? ''}) as project,
    array(select ${experiments.id}::text from ${experiments} where ${experiments.id} = any(${sql.param(onlyUuids(experimentIds))}::uuid[])) as experiment_ids,
    array(select ${sweeps.id}::text from ${sweeps} where ${sweeps.id} = any(${sql.param(onlyUuids(sweepIds))}::uuid[])) as sweep_ids`);
  const missing = (ids: readonly string[], known: unknown): string[] => ids.filter((id) => !(known as string[]).includes(id.toLowerCase()));
  return {
    project: filter.project !== undefined && found?.['project'] === false,
    experimentIds: missing(experimentIds, found?.['experiment_ids']), sweepIds: missing(sweepIds, found?.['sweep_ids']),
  };
}
