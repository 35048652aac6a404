/** Which jobs an experiment has already. */
import { and, eq, sql } from 'drizzle-orm';
import type { JobState } from '../../domain/states.ts';
import type { Reader } from '../database.ts';
import { experiments, jobs } from '../tables/index.ts';

export interface ExistingJob {
  jobId: string;
  sweepId: string | null;
  state: JobState;
}

/** By fingerprint, the newest repetition of each that the experiment has. */
export async function jobsByFingerprint(reader: Reader, experimentId: string, fingerprints: readonly string[]): Promise<Map<string, ExistingJob>> {
  if (fingerprints.length === 0) return new Map();
  const rows = await reader.selectDistinctOn([jobs.fingerprint], { fingerprint: jobs.fingerprint, jobId: jobs.id, sweepId: jobs.sweepId, state: jobs.state })
    .from(jobs)
    .where(and(eq(jobs.experimentId, experimentId), sql`${jobs.fingerprint} = any(${sql.param([...fingerprints])}::text[])`))
    .orderBy(jobs.fingerprint, sql`${jobs.repetition} desc`);
  return new Map(rows.map(({ fingerprint, ...job }) => [fingerprint, job]));
}

/** The id of the experiment of this name, or null. */
export async function experimentIdByName(reader: Reader, project: string, name: string): Promise<string | null> {
  const [found] = await reader.select({ id: experiments.id }).from(experiments)
    .where(and(eq(experiments.project, project), eq(experiments.name, name)));
  return found?.id ?? null;
}
